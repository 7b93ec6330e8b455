const d = device('sensor.a', {name: 'A', unit_of_measurement: '°C', depth: {x: [1]}});
eq(d.id, 'sensor.a');
eq(d.state, undefined);
eq(d.attributes, undefined);
const s = d.set(1.5);
eq(s.state, '1.5');
eq(s.entity_id, 'sensor.a');
eq(d.state, '1.5');
eq(state('sensor.a').state, '1.5');
eq(d.attributes, {depth: {x: [1]}, friendly_name: 'A', unit_of_measurement: '°C'});
after(20, () => {
  eq(d.set(true, {own: 1}).state, 'true');
  eq(d.attributes, {depth: {x: [1]}, friendly_name: 'A', own: 1, unit_of_measurement: '°C'});
  d.set('x');
  eq(d.attributes.own, 1);
  d.set('x', {});
  eq(d.attributes.own, undefined);
  eq(d.attributes.friendly_name, 'A');
  eq(device('sensor.a') === d, true);
  eq(Object.keys(state('sensor.a')).length, 7);
  eq(JSON.parse(JSON.stringify(state('sensor.a'))).state, 'x');
  eq(new Date(state('sensor.a').last_changed).getTime() > 1e12, true);
  d.remove();
  eq(state('sensor.a'), undefined);
  throws(() => d.set('y'), 'sensor.a was removed');
  const late = device('sensor.late', {name: 'Late'});
  late.set('here');
  eq(state('sensor.late').state, 'here');
  emit('done');
});
---
throws(() => device(), 'device: the id must be a string');
throws(() => device('Light.Lamp'), 'no entity id');
throws(() => device('light.x', 5), 'options must be an object');
throws(() => device('light.x', {commands: {'Turn On'() {}}}), 'no name');
throws(() => device('light.x', {commands: {turn_on: 1}}), 'command turn_on must be a function');
const d = device('light.x');
throws(() => d.set(), 'the state must be a string, a number or a boolean');
throws(() => d.set(null), 'the state must be');
throws(() => d.set({}), 'the state must be');
throws(() => d.set(NaN), 'is NaN');
throws(() => d.set(1 / 0), 'Infinity');
throws(() => d.set('x'.repeat(256)), '256 characters');
throws(() => d.set('on', 'x'), 'the attributes must be an object');
throws(() => d.set('on', [1]), 'the attributes must be an object');
throws(() => d.set('on', {toJSON() { throw new Error('mine'); }}), 'mine');
throws(() => d.command('x'), 'must be a function');
d.set(0);
eq(d.state, '0');
throws(() => { d.id = 'other'; }, 'TypeError');
emit('done');
---
// What a top level sets is not there when it fails.
const d = device('light.never');
d.set('on');
emit('never');
missing(); /// missing is not defined
