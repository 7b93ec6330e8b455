const d = device('light.d', {commands: {
  async turn_on(data, ctx) {
    eq(ctx.domain + '.' + ctx.service, 'light.turn_on');
    eq(this === d, true);
    await null;
    d.set('on', {level: data.level});
    return {level: data.level};
  },
  nothing() {},
  fail() { throw new Error('no bulb'); }, /// Error: no bulb
  async fail_later() {
    await null;
    throw new Error('no bulb later'); /// Error: no bulb later
  },
}});
(async () => {
  const r = await call('light.turn_on', {entity_id: 'light.d', level: 3});
  eq(r.response, {level: 3});
  eq(r.changed.map(s => s.state), ['on']);
  eq(d.attributes.level, 3);
  const none = await call('light.nothing', {entity_id: d.id});
  eq([none.response, none.changed], [null, []]);
  for (const [name, part] of [['light.fail', 'no bulb'], ['light.fail_later', 'no bulb later'], ['light.none', 'unknown service']]) {
    let caught = '';
    try { await call(name, {entity_id: d.id}); } catch (e) { caught = String(e); }
    eq([name, caught.includes(part)], [name, true]);
  }
  throws(() => call('turn_on'), 'no service');
  throws(() => call('light.turn_on', 5), 'the data must be an object');
  emit('done');
})();
---
after(20, async () => {
  await null;
  await call('light.nobody'); /// unknown service: light.nobody
});
---
// The promise of a call that nobody waits for.
after(20, () => {
  call('light.nobody'); /// unknown service: light.nobody
});
