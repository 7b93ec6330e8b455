// Follows a Carillon stream with an EventSource client from npm and prints what
// the client sees, one JSON object a line.
//
//   node watch.cjs eventsource|polyfill URL
"use strict";

const [library, url] = process.argv.slice(2);
const EventSource =
  library === "polyfill"
    ? require("event-source-polyfill").EventSourcePolyfill
    : require("eventsource").EventSource;

const print = (seen) => console.log(JSON.stringify(seen));
const source = new EventSource(url);
source.onopen = () => print({ seen: "open" });
source.onerror = (e) => print({ seen: "error", state: source.readyState, status: e.status ?? e.code });
source.onmessage = (e) => print({ seen: "message", id: e.lastEventId, data: e.data });
for (const name of ["reset", "gap"]) {
  source.addEventListener(name, (e) => print({ seen: name, data: e.data }));
}
