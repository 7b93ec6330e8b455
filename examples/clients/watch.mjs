// Follows a Carillon stream with carillon.mjs and prints what it is told, one
// JSON object a line.
//
//   node watch.mjs URL [TOKEN [FIRST_BYTE_MS STREAM_AGAIN_MS]]
import { follow } from "./carillon.mjs";

const [url, token, firstByte = 10_000, streamAgain = 60_000] = process.argv.slice(2);
const print = (seen) => (what) => console.log(JSON.stringify({ seen, ...what }));
const stream = follow(url, {
  token,
  retry: 200,
  firstByte: Number(firstByte),
  streamAgain: Number(streamAgain),
  event: ({ name, data, id }) => print("message")({ name, data, id }),
  ...Object.fromEntries(["beat", "gap", "reset", "fault", "state", "refused"].map((kind) => [kind, print(kind)])),
});
process.on("SIGTERM", () => stream.close());
