const seen = [];
on('a', e => seen.push('exact ' + e.type));
on(['a', 'b'], e => seen.push('list ' + e.type));
on('*', e => { if (e.type.length === 1) seen.push('any ' + e.type); });
const cancel = on('a', () => seen.push('cancelled'));
cancel();
cancel();
on('c', e => {
  eq(seen, ['exact a', 'list a', 'any a', 'list b', 'any b', 'any c']);
  eq(e.data, {x: 1});
  eq(e.data === e.data, true);
  eq(e.state, undefined);
  eq(e.entity_id, undefined);
  eq(e.source, 'test.js@1');
  eq(Object.keys(e).length, 10);
  throws(() => { e.type = 'x'; }, 'TypeError');
  eq(new Date(e.time).getTime() > 1e12, true);
  emit('done');
});
emit('a');
emit('b', {});
emit('c', {x: 1});
---
const seen = [];
const d = device('light.d'), other = device('switch.other');
on('state_changed', {entity_id: 'light.d'}, e => seen.push(`id ${e.old}>${e.state}`));
on('state_changed', {domain: ['light', 'fan']}, e => seen.push(`domain ${e.entity_id}`));
on('state_changed', {entity_id: 'light.*', to: 'on'}, e => seen.push(`to ${e.state}`));
on('state_changed', {from: ['on', 'o*'], to: 'off'}, e => seen.push(`from ${e.entity_id}`));
on('state_changed', {entity_id: 'light.d', attribute: 'level', to: 5}, e => seen.push(`level ${e.attributes.level}`));
on('check', () => {
  eq(seen, [
    'id undefined>unknown', 'domain light.d',
    'id unknown>on', 'domain light.d', 'to on',
    'id on>on', 'domain light.d',
    'id on>on', 'domain light.d', 'level 5',
    'id on>off', 'domain light.d', 'from light.d',
    'from switch.other',
  ]);
  emit('done');
});
after(30, () => {
  d.set('on');
  d.set('on', {level: 4});
  d.set('on', {level: 5});
  d.set('on', {level: 5});
  d.set('off');
  other.set('o');
  other.set('off');
  emit('check');
});
---
throws(() => on(), 'the type must be an event type');
throws(() => on('a'), 'the last argument must be a function');
throws(() => on('a', {}, 1), 'the last argument must be a function');
throws(() => on('a', {entity: 'light.x'}, () => {}), 'unknown filter key "entity": want entity_id');
throws(() => on('a', {to: 'on'}, () => {}), "are for 'state_changed' only");
throws(() => on('a', {entity_id: []}, () => {}), '1 to 1000 elements');
throws(() => on('a', {entity_id: {}}, () => {}), 'must be a string or a list');
throws(() => emit(), 'the type must be a string');
throws(() => emit(''), 'no event type');
throws(() => emit('a', 1), 'the data must be an object');
throws(() => emit('state_changed'), "can't be emitted");
throws(() => emit('script_failed'), "the script host's own");
emit('done');
---
for (let i = 0; i < 1000; i++) on('x', () => {});
on('x', () => {}); /// more than 1000 subscriptions
---
for (let i = 0; i < 1000; i++) after('1h', () => {});
after('1h', () => {}); /// more than 1000 timers
---
for (let i = 0; i < 1001; i++) {
  device('light.n' + i); /// more than 1000 entities
}
---
const d = device('light.x');
for (;;) d.set(1); /// more than 10000 changes, events and calls
---
eq(state('sensor.outside').state, '20');
eq(state('sensor.outside').attributes.unit, '°C');
eq(state('sensor.none'), undefined);
device('sensor.inside').set(1);
after(20, () => {
  eq(states().map(s => s.entity_id), ['sensor.inside', 'sensor.outside']);
  eq(states('*.out*').map(s => s.state), ['20']);
  eq(states(['sensor.inside', 'x.y']).length, 1);
  emit('done');
});
