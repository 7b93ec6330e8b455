// Trackers within an area: filter=@inside&area=60.1,24.8;60.3,24.8;60.2,25.1
//
// A loop with variables is not in the subset that is compiled, so this one runs
// in the worker process.
export default (e, params) => {
  const { latitude, longitude } = e.attributes ?? {};
  if (typeof latitude !== "number" || typeof longitude !== "number") return false;
  const corners = params.area.split(";").map((corner) => corner.split(",").map(Number));
  let inside = false;
  let [before, left] = corners.at(-1);
  for (const [north, east] of corners) {
    const between = north > latitude !== before > latitude;
    if (between && longitude < ((left - east) * (latitude - north)) / (before - north) + east) inside = !inside;
    [before, left] = [north, east];
  }
  return inside;
};
