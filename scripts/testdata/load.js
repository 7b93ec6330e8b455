let a = 1;
let b = ; /// SyntaxError: Unexpected token ;
---
import x from 'y'; /// SyntaxError: .*hint: scripts can't import
---
let a = 1;
const a = 2; /// SyntaxError: Identifier 'a' has already been declared
---
undeclared = 1; /// ReferenceError: undeclared is not defined
---
function f() {
  nothing.there(); /// ReferenceError: nothing is not defined
}
f();
---
throw new Error('on purpose'); /// Error: on purpose
---
throw {toString() { for (;;); }}; /// something was thrown that can't be shown
---
Promise.reject(new Error('lost')); /// Error: lost .in a promise that nobody handles
---
Promise.reject(new Error('found')).catch(() => emit('done'));
---
for (;;) { Math.random(); } /// ran for longer than 2s and was interrupted
---
function deep() { return deep(); } /// more than 512 calls within each other
deep();
---
function deep() { return [1].map(deep); } /// more than 512 calls within each other
deep();
---
eval('1;\n//# sourceMappingURL=file:///etc/passwd');
new Function('return 1 //# sourceMappingURL=file:///etc/passwd')();
throws(() => eval('1 +'), 'SyntaxError');
emit('done');
//# sourceMappingURL=file:///etc/hostname
---
Object.defineProperty(globalThis, 'JSON', {value: undefined});
Array.prototype.then = 1;
String = null;
const d = device('light.tampered');
d.set('on', {a: [1, 2]});
if (d.attributes.a[1] !== 2) throw new Error('attributes');
emit('done');
