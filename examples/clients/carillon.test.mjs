// node --test examples/clients/carillon.test.mjs
import assert from "node:assert/strict";
import { createServer } from "node:http";
import { once } from "node:events";
import { test } from "node:test";
import { Continuity, Parser, follow, parseID } from "./carillon.mjs";

const frames = (text, pieces = [text]) => {
  const got = [];
  const parser = new Parser((f) => got.push(f));
  for (const piece of pieces) parser.push(piece);
  return { got, last: parser.last };
};

test("the parser reads frames however they are cut", () => {
  const cases = {
    "data: a\n\n": [{ kind: "message", event: "", data: "a", last: "" }],
    "id: e-1\nevent: x\ndata: a\ndata:b\n\n": [{ kind: "message", id: "e-1", event: "x", data: "a\nb", last: "e-1" }],
    "id: e-1\r\ndata: a\r\n\r\ndata: b\r\r": [
      { kind: "message", id: "e-1", event: "", data: "a", last: "e-1" },
      { kind: "message", event: "", data: "b", last: "e-1" },
    ],
    ": hi\nretry: 15\n\nid: e-2\n\nretry: x\n\n": [
      { kind: "comment", data: "hi" },
      { kind: "retry", retry: 15 },
      { kind: "moved", id: "e-2", last: "e-2" },
    ],
    "data\n\ndata: ä€😀\n\nevent: x\n\nid: e-9\ndata: torn\n": [
      { kind: "message", event: "", data: "", last: "" },
      { kind: "message", event: "", data: "ä€😀", last: "" },
    ],
  };
  for (const [text, want] of Object.entries(cases)) {
    assert.deepEqual(frames(text).got, want, text);
    assert.deepEqual(frames(text, [...text]).got, want, `${text} by the character`);
    for (let i = 0; i < text.length; i++) {
      assert.deepEqual(frames(text, [text.slice(0, i), "", text.slice(i)]).got, want, `${text} cut at ${i}`);
    }
  }
  assert.equal(frames("id: e-1\ndata: a\n\nid: e-2\ndata: torn\n").last, "e-1");
});

test("ids", () => {
  assert.deepEqual(parseID("abc1-20"), { epoch: "abc1", seq: 20 });
  for (const bad of ["", undefined, "7", "a-", "-7", "A-7", "a-07", "a--7", "a-7x", "a-9999999999999999"]) assert.equal(parseID(bad), undefined, bad);
});

test("continuity", () => {
  const ev = (n) => `id: abc-${n}\ndata: x\n\n`;
  const pos = (n) => `id: abc-${n}\n\n`;
  const gap = (id, from, to) => `${id ? `id: abc-${id}\n` : ""}event: gap\ndata: {"from":${from},"to":${to},"reason":"aged_out"}\n\n`;
  const reset = 'event: reset\ndata: {"epoch":"xyz","head":3,"reason":"epoch"}\n\n';
  const cases = [
    [pos(4) + ev(5) + ev(6) + pos(6), "beat event event beat"],
    ["data: ping\n\n" + ev(5) + ev(9) + pos(20) + ev(21), "event event beat event"],
    [ev(5) + ev(5) + ev(6), "event fault event"],
    [ev(5) + ev(7) + ev(6) + pos(4), "event event fault fault"],
    [ev(5) + pos(7) + ev(7), "event beat fault"],
    [ev(5) + gap(8, 6, 8) + ev(9), "event gap event"],
    [ev(5) + gap(0, 6, 20) + ev(18) + gap(0, 19, 25) + ev(25), "event gap event gap event"],
    [ev(5) + gap(8, 5, 8) + gap(8, 8, 6), "event fault fault"],
    [ev(5) + reset + "id: xyz-3\n\nid: xyz-4\ndata: y\n\n", "event reset beat event"],
    [ev(5) + "id: xyz-4\ndata: y\n\nid: xyz-5\ndata: y\n\n", "event fault event"],
    ["id: 7\ndata: y\n\n", "fault"],
  ];
  for (const [text, want] of cases) {
    const c = new Continuity();
    const got = frames(text).got.map((f) => c.take(f).finding);
    assert.equal(got.filter(Boolean).join(" "), want, text);
  }
});

// A Fake serves what its handler says; all its connections can be cut.
async function fake(t, handler) {
  const server = createServer(handler);
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  t.after(() => (server.closeAllConnections(), server.close()));
  return { server, url: `http://127.0.0.1:${server.address().port}/api/stream?domain=light` };
}

const head = { "Content-Type": "text/event-stream" };

// collect follows url until enough says so, and returns what was told.
async function collect(t, url, enough, options = {}) {
  const told = [];
  let stream;
  const timer = setTimeout(() => stream.close(), 10_000);
  await new Promise((resolve) => {
    const note = (kind) => (what) => {
      told.push({ kind, ...what });
      if (kind === "event") told.at(-1).n = what.value?.n;
      if (kind === "refused" || enough(told)) resolve();
    };
    const kinds = Object.fromEntries(["event", "beat", "gap", "reset", "fault", "state", "refused"].map((k) => [k, note(k)]));
    stream = follow(url, { retry: 10, ...kinds, ...options });
    stream.done.then(resolve);
  });
  clearTimeout(timer);
  await stream.close();
  return { told, stream, events: told.filter((x) => x.kind === "event").map((x) => x.n) };
}

const frame = (n) => `id: abc-${n}\ndata: {"n":${n}}\n\n`;

test("connections that break anywhere lose and repeat nothing", async (t) => {
  const all = Array.from({ length: 200 }, (_, i) => i + 1);
  let connections = 0;
  const { url } = await fake(t, (req, res) => {
    connections++;
    assert.equal(req.headers.authorization, "Bearer T");
    const from = Number((req.headers["last-event-id"] ?? "abc-0").split("-")[1]);
    const text = "retry: 5\n\ndata: ping\n\n" + all.slice(from).map(frame).join("");
    res.writeHead(200, head);
    const cut = Math.min(text.length, 30 + Math.floor(Math.random() * 900));
    res.write(text.slice(0, cut), () => setTimeout(() => res.destroy(), 2));
  });
  const { told, events, stream } = await collect(t, url, (x) => x.at(-1).n === 200, { token: "T" });
  assert.deepEqual(events, all);
  assert.ok(connections > 3, `${connections} connections`);
  assert.equal(told.filter((x) => x.kind === "fault").length, 0);
  assert.equal(stream.id, "abc-200");
  assert.equal(stream.totals.events, 200);
});

test("repetitions are told and left out; gaps, resets and beats are told", async (t) => {
  const { url } = await fake(t, (req, res) => {
    res.writeHead(200, head);
    res.write(frame(1) + frame(2) + frame(2) + frame(1) + 'id: abc-5\nevent: gap\ndata: {"from":3,"to":5,"reason":"aged_out"}\n\n');
    res.write(frame(6) + "id: abc-9\n\n" + 'event: reset\ndata: {"epoch":"xyz","head":1,"reason":"epoch"}\n\nid: xyz-1\n\n' + frame(2).replace("abc", "xyz"));
  });
  const { told, events } = await collect(t, url, (x) => x.at(-1).id === "xyz-2");
  assert.deepEqual(events, [1, 2, 6, 2]);
  assert.deepEqual(told.filter((x) => x.kind !== "event" && x.kind !== "state").map((x) => x.kind), ["fault", "fault", "gap", "beat", "reset", "beat"]);
  const { from, to, reason } = told.find((x) => x.kind === "gap");
  assert.deepEqual({ from, to, reason }, { from: 3, to: 5, reason: "aged_out" });
});

test("a silent stream is opened again", async (t) => {
  let connections = 0;
  const { url } = await fake(t, (req, res) => {
    res.writeHead(200, head);
    res.write(frame(++connections));
  });
  const { told } = await collect(t, url, (x) => x.at(-1).n === 3, { silence: 100 });
  assert.ok(told.some((x) => x.kind === "state" && !x.open && x.reason.includes("silent for 0.1 s")), JSON.stringify(told));
});

test("what a handler throws is not taken", async (t) => {
  const { url } = await fake(t, (req, res) => {
    const from = Number((req.headers["last-event-id"] ?? "abc-0").split("-")[1]);
    res.writeHead(200, head);
    res.write([1, 2, 3].slice(from).map(frame).join(""));
  });
  const seen = [];
  const faults = [];
  await new Promise((resolve) => {
    const stream = follow(url, {
      retry: 10,
      fault: (f) => faults.push(f),
      event: (e) => {
        seen.push(e.value.n);
        if (seen.length === 2) throw new Error("not now");
        if (seen.length === 4) stream.close().then(resolve);
      },
    });
  });
  assert.deepEqual(seen, [1, 2, 2, 3]);
  assert.deepEqual(faults, []);
});

test("refusals: for good, for now, and those that are no stream", async (t) => {
  let asked = 0;
  const { url } = await fake(t, (req, res) => {
    switch (++asked) {
      case 1:
        return res.writeHead(503).end("starting");
      case 2: // for now: 200, when to come back, why, and the end
        return res.writeHead(200, head).end("retry: 20\n\n: too many streams\n\n");
      default:
        return res.writeHead(401, { "Content-Type": "application/json" }).end('{"message":"no"}');
    }
  });
  const { told } = await collect(t, url, () => false);
  assert.deepEqual(told.map((x) => x.kind === "refused" ? x.status : x.open), [false, true, false, 401]);
  assert.match(told[0].reason, /503/);
});

test("behind a proxy that buffers it polls, and comes back", async (t) => {
  let buffers = true;
  const polls = [];
  const { url } = await fake(t, (req, res) => {
    const address = new URL(req.url, "http://x");
    if (address.pathname === "/api/stream") {
      res.writeHead(200, head);
      if (buffers) return res.flushHeaders();
      const from = Number(req.headers["last-event-id"].split("-")[1]);
      return res.write([1, 2, 3, 4, 5, 6, 7, 8].slice(from).map(frame).join(""));
    }
    const since = address.searchParams.get("since");
    polls.push([address.pathname, address.searchParams.get("domain"), since]);
    const from = since ? Number(since.split("-")[1]) : 0;
    const events = from < 6 ? [{ n: from + 1 }, { n: from + 2 }] : [];
    if (from === 6) buffers = false;
    const gap = from === 2 ? { from: 3, to: 3, reason: "aged_out" } : null;
    setTimeout(() => {
      res.writeHead(200, { "Content-Type": "application/json" });
      res.end(JSON.stringify({ events, next: `abc-${from + events.length}`, gap, reset: null }));
    }, 20);
  });
  const { told, events } = await collect(t, url, (x) => x.at(-1).n === 8, { firstByte: 60, streamAgain: 100 });
  assert.deepEqual(polls[0], ["/api/events/poll", "light", null]);
  assert.deepEqual(polls[1], ["/api/events/poll", "light", "abc-2"]);
  assert.deepEqual(events, [...new Set(events)], "once");
  assert.deepEqual(events, [...events].sort((a, b) => a - b), "in order");
  assert.equal(events.at(-1), 8);
  assert.equal(events.length, 8);
  const modes = told.filter((x) => x.kind === "state" && x.open).map((x) => x.mode);
  assert.equal(modes[0], "poll");
  assert.equal(modes.at(-1), "stream");
  assert.equal(told.filter((x) => x.kind === "gap").length, 1);
  assert.equal(told.filter((x) => x.kind === "fault").length, 0, JSON.stringify(told));
});

// body reads a request's body.
async function body(req) {
  let text = "";
  for await (const chunk of req) text += chunk;
  return text;
}

test("a filter and its params are asked for, by stream and by poll", async (t) => {
  const asked = [];
  const { url } = await fake(t, async (req, res) => {
    const address = new URL(req.url, "http://x");
    asked.push([req.method, address.pathname, address.searchParams.get("domain"), req.headers["content-type"], JSON.parse(await body(req))]);
    if (address.pathname === "/api/stream") return void res.writeHead(200, head).flushHeaders(); // and holds it back
    res.writeHead(200, { "Content-Type": "application/json" }).end('{"events":[{"n":1}],"next":"abc-1","gap":null,"reset":null}');
  });
  const filter = (e, params) => e.number > params.limit;
  const { told } = await collect(t, url, (x) => x.at(-1).n === 1, { firstByte: 60, filter, params: { limit: 20, unit: "°C" } });
  const want = { filter: "(e, params) => e.number > params.limit", params: { limit: 20, unit: "°C" } };
  assert.deepEqual(asked[0], ["POST", "/api/stream", "light", "application/json", want]);
  assert.deepEqual(asked[1], ["POST", "/api/events/poll", "light", "application/json", want]);
  assert.equal(told.at(-1).id, "abc-1");
});

test("a named filter has no params of its own", async (t) => {
  const { url } = await fake(t, async (req, res) => {
    res.writeHead(200, head);
    res.write(`data: ${await body(req)}\n\n`);
  });
  const { told } = await collect(t, url, (x) => x.at(-1).kind === "event", { filter: "@above" });
  assert.deepEqual(told.at(-1).value, { filter: "@above" });
});

test("errors of a filter are told, and are no events", async (t) => {
  const said = { id: "abc-2", message: "TypeError: no", errors: 3, filter: "e => e.a.b" };
  const { url } = await fake(t, (req, res) => {
    res.writeHead(200, head);
    res.write(frame(1) + `event: filter_error\ndata: ${JSON.stringify(said)}\n\n` + frame(4));
  });
  const errors = [];
  const { events, told } = await collect(t, url, (x) => x.at(-1).n === 4, { filter: "e => e.a.b", filterError: (e) => errors.push(e) });
  assert.deepEqual(errors, [said]);
  assert.deepEqual(events, [1, 4]);
  assert.equal(told.filter((x) => x.kind === "fault").length, 0);
});

test("a wrong filter ends it, with line and column", async (t) => {
  const { url } = await fake(t, (req, res) => {
    res.writeHead(400, { "Content-Type": "application/json" });
    res.end('{"message":"1:8: await is not in the subset","line":1,"column":8,"construct":"await"}');
  });
  const { told } = await collect(t, url, () => false, { filter: "e => await e" });
  assert.equal(told.length, 1);
  const { kind, status, line, column, construct, reason } = told[0];
  assert.deepEqual({ kind, status, line, column, construct }, { kind: "refused", status: 400, line: 1, column: 8, construct: "await" });
  assert.match(reason, /answers 400 .*: 1:8: await is not in the subset$/);
});
