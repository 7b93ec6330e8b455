// A client for Carillon's event streams: browsers and Node 20, no dependencies.
//
//   import { follow } from "./carillon.mjs";
//   const stream = follow("http://127.0.0.1:8123/api/stream?domain=light", {
//     token: "T",
//     filter: (e, params) => e.attributes.brightness > params.limit, // runs in the server
//     params: { limit: 100 },
//     event: (e) => console.log(e.id, e.value),
//     gap: (g) => console.log("lost", g.from, g.to, g.reason),
//     reset: () => readEverythingAgain(),
//   });
//
// It reconnects behind the last complete frame, with growing, jittered pauses;
// takes a stream that is silent for 45 s for dead; checks that events come once
// and in order; and polls while something on the way holds the stream back.

// DEFAULTS are times in milliseconds.
export const DEFAULTS = {
  silence: 45_000, // without a byte a stream is dead: three beats
  firstByte: 10_000, // without a byte for so long after opening, something buffers
  retry: 3_000, // pause before a reconnect until the server names one
  longestRetry: 30_000,
  pollWait: 30_000, // how long the server may hold a poll
  streamAgain: 60_000, // of polling, until the stream is tried again; doubles up to 16 times
};

// Parser takes the text of an event stream in pieces of any size and calls on
// with each frame: {kind: "message", id?, last, event, data}, {kind: "moved", id, last},
// {kind: "comment", data} or {kind: "retry", retry}. An unterminated frame is
// never reported.
export class Parser {
  #rest = "";
  #afterCR = false;
  #id = "";
  #hasID = false;
  #event = "";
  #data = null;

  constructor(on, last = "") {
    this.on = on;
    this.last = this.#id = last; // the id of the last complete frame that had one
  }

  push(text) {
    if (text === "") return;
    if (this.#afterCR) {
      this.#afterCR = false;
      if (text[0] === "\n") text = text.slice(1);
    }
    const lines = (this.#rest + text).split(/\r\n|\n|\r/);
    this.#afterCR = text.endsWith("\r");
    this.#rest = lines.pop();
    for (const line of lines) this.#line(line);
  }

  #line(line) {
    if (line === "") return this.#dispatch();
    const colon = line.indexOf(":");
    const name = colon < 0 ? line : line.slice(0, colon);
    let value = colon < 0 ? "" : line.slice(colon + 1);
    if (value.startsWith(" ")) value = value.slice(1);
    if (name === "") this.on({ kind: "comment", data: value });
    else if (name === "data") this.#data = this.#data === null ? value : `${this.#data}\n${value}`;
    else if (name === "event") this.#event = value;
    else if (name === "id" && !value.includes("\0")) [this.#id, this.#hasID] = [value, true];
    else if (name === "retry" && /^\d+$/.test(value)) this.on({ kind: "retry", retry: Number(value) });
  }

  #dispatch() {
    this.last = this.#id;
    const frame = { last: this.last, ...(this.#hasID && { id: this.#id }) };
    const [event, data, moved] = [this.#event, this.#data, this.#hasID];
    [this.#event, this.#data, this.#hasID] = ["", null, false];
    if (data !== null) this.on({ kind: "message", event, data, ...frame });
    else if (moved) this.on({ kind: "moved", ...frame });
  }
}

// parseID takes "<epoch>-<sequence>" apart; undefined if it is something else.
export function parseID(id) {
  const m = /^([a-z0-9]{1,64})-(0|[1-9]\d{0,15})$/.exec(id ?? "");
  const seq = m && Number(m[2]);
  return m && Number.isSafeInteger(seq) ? { epoch: m[1], seq } : undefined;
}

// Continuity follows the ids of a stream over all its connections. take returns
// what a frame means: {finding: "event" | "beat" | "gap" | "reset" | "fault" | ""},
// with from, to and reason of a gap or reset, and reason of a fault. A fault
// with again is an event that came before: don't take it twice.
//
// It proves that nothing came twice or out of order, and that everything that
// the stream asked for has come, up to the position, but for the gaps: the
// server sends an id, and a beat, only behind all that comes before it.
// Sequences that pass without an event are those of other selections.
export class Continuity {
  position = undefined; // {epoch, seq}
  totals = { events: 0, beats: 0, gaps: 0, resets: 0, faults: 0 };

  take(frame) {
    if (frame.kind !== "message" && frame.kind !== "moved") return { finding: "" };
    if (frame.kind === "message" && frame.event === "gap") return this.#gap(frame);
    if (frame.kind === "message" && frame.event === "reset") return this.#reset(frame);
    if (frame.id === undefined) return { finding: "" };
    const at = this.position;
    const id = parseID(frame.id);
    const beat = frame.kind === "moved";
    if (!id) return this.#fault(`the id ${JSON.stringify(frame.id)} has not the form <epoch>-<sequence>`);
    if (at && id.epoch !== at.epoch) {
      this.position = id;
      return this.#fault(`the epoch changed from ${at.epoch} to ${id.epoch} without a reset`);
    }
    if (at && (id.seq < at.seq || (!beat && id.seq === at.seq))) {
      return { ...this.#fault(`${beat ? "beat" : "event"} ${id.seq} came after ${at.seq}`), again: !beat };
    }
    this.position = id;
    this.totals[beat ? "beats" : "events"]++;
    return { finding: beat ? "beat" : "event" };
  }

  #gap(frame) {
    const { from, to, reason, merged, dropped } = parseJSON(frame.data) ?? {};
    const at = this.position;
    if (!(from >= 1 && to >= from)) return this.#fault(`the gap ${frame.data} does not tell what is missing`);
    if (at && from <= at.seq) return this.#fault(`the gap ${from} to ${to} stands for what came before it, up to ${at.seq}`);
    const id = parseID(frame.id);
    if (at && id && (id.epoch !== at.epoch || id.seq < at.seq)) return this.#fault(`the gap's id ${frame.id} does not follow ${at.epoch}-${at.seq}`);
    if (id) this.position = id;
    this.totals.gaps++;
    return { finding: "gap", from, to, reason, merged, dropped };
  }

  #reset(frame) {
    const { epoch, head, reason } = parseJSON(frame.data) ?? {};
    this.position = parseID(frame.id);
    this.totals.resets++;
    return { finding: "reset", epoch, head, reason };
  }

  #fault(reason) {
    this.totals.faults++;
    return { finding: "fault", reason };
  }
}

function parseJSON(text) {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

// follow opens a stream and keeps it open until close() or a refusal. handlers
// may have token, headers, since (an id to begin behind), fetch and the times
// of DEFAULTS; filter, a JavaScript function or its text, or "@name" for one that
// the server has, which decides in the server what comes; params, an object of
// strings, numbers and booleans for it (the function can't see variables of the
// page); and the functions
//   event({name, data, value, id})  an event; value is data as JSON, if it is that.
//                                   Without id: a snapshot's, or one of a poll but the last
//   beat({id})      everything up to id has come
//   gap({from, to, reason, merged?, dropped?})   what will not come
//   reset({epoch, head, reason})    the numbering began anew: read the present again
//   filterError({id, message, errors})  the filter threw, on the event id first, and so
//                                   did not take it; errors times since it was last told
//   fault({reason}) the server broke its promise; an event that came twice is left out
//   state({mode, open, reason})     "stream" or "poll"; when it opened, or why it closed
//   refused({status, reason, line, column})   the end: the server will not have us, or
//                                   the filter, which is wrong at line and column
// They run in the order of the stream. What they throw ends the connection, and
// the stream goes on behind the last frame (when polling: batch) that was taken.
export function follow(url, handlers = {}) {
  return new Follower(new URL(url, globalThis.location?.href), { ...DEFAULTS, ...handlers });
}

class Refused extends Error {}

class Follower {
  #url;
  #o;
  #closing = new AbortController();
  #continuity = new Continuity();
  #retry;
  #failures = 0;
  #pollUntil = 0;
  #pollTurns = 0;
  #open = false; // and told so
  #asked; // the body of requests: filter and params as JSON
  id; // of the last complete frame: where a next connection begins
  mode = "stream";
  done; // a promise for the end

  constructor(url, o) {
    this.#url = url;
    this.#o = o;
    this.#retry = o.retry;
    this.id = o.since ?? "";
    if (o.filter) this.#asked = JSON.stringify({ filter: String(o.filter), params: o.params });
    this.done = this.#run();
  }

  get totals() {
    return { ...this.#continuity.totals };
  }

  close() {
    this.#closing.abort(new Error("closed"));
    return this.done;
  }

  async #run() {
    const closing = this.#closing.signal;
    while (!closing.aborted) {
      let reason;
      try {
        reason = await (this.mode === "stream" ? this.#stream() : this.#poll());
      } catch (error) {
        if (closing.aborted) break;
        if (error instanceof Refused) {
          this.#o.refused?.({ ...error.where, status: error.status, reason: error.message });
          return;
        }
        reason = error.cause?.message ?? error.message ?? String(error);
      }
      if (closing.aborted) break;
      if (reason === undefined) continue;
      this.#open = false;
      this.#o.state?.({ mode: this.mode, open: false, reason });
      const pause = Math.min(this.#retry * 2 ** this.#failures, Math.max(this.#o.longestRetry, this.#retry));
      this.#failures = Math.min(this.#failures + 1, 10);
      await sleep(pause * (0.5 + Math.random()), closing);
    }
  }

  // #fetch asks for url with a signal of its own that also ends with close.
  async #fetch(url, accept, abort) {
    const headers = { Accept: accept, ...this.#o.headers };
    if (this.#o.token) headers.Authorization = `Bearer ${this.#o.token}`;
    if (accept === "text/event-stream" && this.id) headers["Last-Event-ID"] = this.id;
    const init = { headers, signal: abort.signal, cache: "no-store" };
    if (this.#asked) {
      init.method = "POST"; // a filter may be too long for an address
      init.body = this.#asked;
      headers["Content-Type"] = "application/json";
    }
    const response = await (this.#o.fetch ?? fetch)(url, init);
    const type = (response.headers.get("Content-Type") ?? "").split(";")[0].trim();
    if (response.ok && type === accept) return response;
    const text = await response.text();
    const { message, line, column, construct } = (type === "application/json" && parseJSON(text)) || {};
    const error = new Error(`the server answers ${response.status} (${type}): ${message ?? text.slice(0, 200)}`);
    error.where = line > 0 ? { line, column, construct } : {};
    const passing = response.status >= 500 || response.status === 408 || response.status === 429;
    throw passing ? error : Object.assign(new Refused(error.message), { status: response.status, where: error.where });
  }

  // #abortable returns a controller that ends with close, too.
  #abortable() {
    const abort = new AbortController();
    const end = () => abort.abort(this.#closing.signal.reason);
    this.#closing.signal.addEventListener("abort", end, { once: true });
    return [abort, () => this.#closing.signal.removeEventListener("abort", end)];
  }

  // #stream holds one connection and returns why it ended.
  async #stream() {
    const [abort, release] = this.#abortable();
    const o = this.#o;
    let heard = false;
    let watchdog = setTimeout(() => abort.abort(new Error(`no byte within ${o.firstByte / 1000} s of opening`)), o.firstByte);
    try {
      const response = await this.#fetch(this.#url, "text/event-stream", abort);
      const reader = response.body.getReader();
      const decoder = new TextDecoder();
      const parser = new Parser((frame) => this.#frame(frame), this.id);
      for (;;) {
        const { value, done } = await reader.read();
        if (done) return "the stream ended";
        clearTimeout(watchdog);
        watchdog = setTimeout(() => abort.abort(new Error(`the stream was silent for ${o.silence / 1000} s`)), o.silence);
        if (!heard) {
          heard = true;
          this.#pollTurns = 0;
          this.#opened();
        }
        parser.push(decoder.decode(value, { stream: true }));
      }
    } catch (error) {
      if (!heard && abort.signal.aborted && !this.#closing.signal.aborted) {
        this.#fallBack();
        return abort.signal.reason.message;
      }
      throw abort.signal.aborted ? abort.signal.reason : error;
    } finally {
      clearTimeout(watchdog);
      abort.abort(); // or the body would go on
      release();
    }
  }

  #opened() {
    if (!this.#open) this.#o.state?.({ mode: this.mode, open: true });
    this.#open = true;
  }

  // #fallBack begins to poll, for longer each time that the stream failed again.
  #fallBack() {
    this.mode = "poll";
    this.#failures = 0;
    this.#pollUntil = Date.now() + this.#o.streamAgain * 2 ** Math.min(this.#pollTurns++, 4);
  }

  // #frame takes one frame of the stream.
  #frame(frame) {
    if (frame.kind === "retry") this.#retry = frame.retry;
    if (frame.kind !== "message" && frame.kind !== "moved") return;
    this.#failures = 0; // a refusal for now has neither
    const before = this.#continuity.position;
    try {
      this.#found(frame, this.#continuity.take(frame));
    } catch (error) {
      this.#continuity.position = before;
      throw error;
    }
    this.id = frame.last;
  }

  // #found tells the handlers what a frame means.
  #found(frame, verdict) {
    const o = this.#o;
    const { finding, ...rest } = verdict;
    if (finding === "gap" || finding === "reset") return o[finding]?.(rest);
    if (finding === "fault") o.fault?.({ reason: verdict.reason });
    if (finding === "beat" && frame.kind === "moved") o.beat?.({ id: frame.id });
    if (frame.kind !== "message" || verdict.again || frame.data === "ping") return;
    if (frame.event === "filter_error") return o.filterError?.(parseJSON(frame.data) ?? { message: frame.data });
    const event = { name: frame.event, data: frame.data, id: frame.id };
    Object.defineProperty(event, "value", { enumerable: true, get: () => frame.value ?? parseJSON(frame.data) });
    o.event?.(event);
  }

  // #poll asks for one batch. It returns nothing if that went well.
  async #poll() {
    if (Date.now() >= this.#pollUntil) {
      this.mode = "stream";
      this.#open = false;
      return undefined;
    }
    const [abort, release] = this.#abortable();
    const o = this.#o;
    const limit = setTimeout(() => abort.abort(new Error("the poll was not answered")), o.pollWait + o.firstByte);
    try {
      const response = await this.#fetch(this.#pollURL(), "application/json", abort);
      const batch = await response.json();
      this.#failures = 0;
      this.#opened();
      this.#batch(batch);
      return undefined;
    } catch (error) {
      if (error.status === 404 || error.status === 405) {
        this.mode = "stream"; // a server without polls
        return error.message;
      }
      throw abort.signal.aborted ? abort.signal.reason : error;
    } finally {
      clearTimeout(limit);
      release();
    }
  }

  #pollURL() {
    const url = new URL(this.#url);
    if (!url.searchParams.has("format") && url.pathname.endsWith("/subscribe_events")) url.searchParams.set("format", "flat");
    url.pathname = url.pathname.replace(/\/(api\/stream|subscribe_events)$/, "/api/events/poll");
    if (this.id) url.searchParams.set("since", this.id);
    const left = Math.min(this.#o.pollWait, Math.max(this.#pollUntil - Date.now(), 1000));
    url.searchParams.set("wait", String(Math.max(1, Math.round(left / 1000))));
    return url;
  }

  // #batch takes {events, next, gap, reset}: the events have no ids of their own,
  // so only behind the last one can be resumed.
  #batch({ events, next, gap, reset }) {
    const told = (event, data) => {
      const frame = { kind: "message", event, data: JSON.stringify(data) };
      this.#found(frame, this.#continuity.take(frame));
    };
    if (reset) told("reset", reset);
    if (gap) told("gap", gap);
    const verdict = this.#continuity.take({ kind: "moved", id: next });
    if (verdict.finding === "fault") this.#o.fault?.({ reason: verdict.reason });
    const native = this.#url.searchParams.get("format") === "native";
    events.forEach((value, i) => {
      const frame = { kind: "message", event: native ? value.type : "", data: JSON.stringify(value), value };
      if (i === events.length - 1) frame.id = next;
      this.#continuity.totals.events++;
      this.#found(frame, { finding: "event" });
    });
    if (events.length === 0) this.#o.beat?.({ id: next });
    this.id = next;
  }
}

function sleep(ms, signal) {
  return new Promise((resolve) => {
    const end = () => {
      clearTimeout(timer);
      signal.removeEventListener("abort", end);
      resolve();
    };
    const timer = setTimeout(end, ms);
    signal.addEventListener("abort", end);
  });
}
