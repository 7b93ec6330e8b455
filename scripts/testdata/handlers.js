on('boom', e => {
  throw new TypeError('in a handler'); /// TypeError: in a handler
});
after(20, () => {
  emit('boom');
  emit('boom2');
});
on('boom2', () => emit('done'));
---
after('20ms', () => { undefined.x; }); /// TypeError: Cannot read property 'x' of undefined
---
after(20, async () => {
  await null;
  throw new Error('after await'); /// Error: after await .in a promise
});
---
// What is no Error has no line of its own: that of the timer is told.
after(20, () => { /// a string .in a promise
  Promise.reject('a string');
});
---
after(20, () => {
  for (;;) { Math.random(); } /// ran for longer than 300ms and was interrupted
});
after(500, () => emit('done'));
---
// Interrupted between two reactions, it is where the handler begins.
after(20, () => { const f = () => Promise.resolve().then(f); f(); }); /// ran for longer than 300ms and was interrupted
after(500, () => emit('done'));
---
// Each throw is counted, and the script goes on.
let n = 0;
const stop = every(10, () => {
  if (++n === 3) { stop(); emit('done'); return; }
  throw new Error('tick'); /// Error: tick
});
