const seen = [];
const stop = every(20, () => {
  seen.push('every');
  if (seen.length > 2) { stop(); stop(); after('10ms', () => { eq(seen, ['after', 'every', 'every']); emit('done'); }); }
});
after(10, () => seen.push('after'));
after(15, () => seen.push('cancelled'))();
---
throws(() => every(5, () => {}), 'every: 5ms is out of range: 10ms to 366 days');
throws(() => after(0, () => {}), 'out of range');
throws(() => after(-1, () => {}), 'out of range');
throws(() => after(NaN, () => {}), 'out of range');
throws(() => after(1e300, () => {}), 'out of range');
throws(() => after('10', () => {}), 'no duration');
throws(() => after('soon', () => {}), 'no duration');
throws(() => after(undefined, () => {}), 'want a duration');
throws(() => after('367d', () => {}), 'no duration');
throws(() => after('1s'), 'must be a function');
after('1.5s', () => {})();
after('1h30m', () => {})();
after('2d', () => {})();
after('2 m', () => {})();
emit('done');
