// The adapter's side of a session: publishing under credit, commands, beats.
import { AsyncLocalStorage } from "node:async_hooks";

// Batches form while maxFlying are on their way, and go out at once when they are worth it.
const maxFlying = 4;
const worthABatch = 64;
const maxLogs = 1000;

const context = new AsyncLocalStorage(); // the context id of the command that is being handled

const text = (value) => (value === undefined ? "" : JSON.stringify(value));

/** What an adapter's run publishes to. Each promise waits while the journal has no room. */
export class Host {
  #stream;
  #welcome;
  #credit;
  #turn = Promise.resolve(); // the end of the publishing before
  #pending = [];
  #flying = []; // batches on their way
  #published = 0;
  #sent = 0;
  #stored = 0;
  #refused = [];
  #results = []; // {after, result}
  #waiting = []; // {ok, resolve, reject}
  #logs = 0; // lines that the stream has not taken
  #metrics = {};
  #news = false;
  #commands = new Map(); // not answered, by id, AbortController
  #queues = new Map(); // by entity whose handler runs, its commands that have not begun
  #services = new Map(); // by entity
  #handler;
  #over;
  draining = false;
  lastBatch = 0;

  constructor(stream, welcome) {
    this.#stream = stream;
    this.#welcome = welcome;
    this.#credit = welcome.credit;
  }

  /** Says who handles commands: handler({entity_id, service, data, signal}). What it publishes names the command; a RangeError says that the data are wrong. */
  onCommand(handler) { this.#handler = handler; }

  /** Declares a device {id, name, entities: [{entity_id, attributes, services}]}. */
  declare(device) {
    for (const e of device.entities) this.#services.set(e.entity_id, e.services ?? []);
    const entities = device.entities.map((e) => ({ ...e, attributes: text(e.attributes) }));
    return this.#publish([{ device: { ...device, entities } }]);
  }

  /** Says what entities are now: {entity_id, state, attributes}. */
  set(...states) {
    return this.#publish(states.map((s) => ({ state: { ...s, state: String(s.state), attributes: text(s.attributes) } })));
  }

  /** Says that something happened. */
  fire(type, data = {}) { return this.#publish([{ event: { type, data: text(data) } }]); }

  /** Says whether the adapter reaches a device. */
  available(device_id, available) { return this.#publish([{ availability: { device_id, available } }]); }

  /** Takes a device away for good. */
  remove(device_id) { return this.#publish([{ removal: { device_id } }]); }

  /** Waits until the journal holds all that was published; throws what it refused. */
  async flush() {
    await this.#turn;
    const target = this.#published;
    await this.#until(() => this.#stored >= target);
    const refused = this.#refused;
    this.#refused = [];
    if (refused.length) throw new Error(refused.join("\n"));
  }

  /** Logs a line with fields, at DEBUG, INFO, WARN or ERROR. */
  log(level, message, fields = {}) {
    if (this.#logs >= maxLogs) return;
    this.#logs++;
    const asText = Object.fromEntries(Object.entries(fields).map(([k, v]) => [k, String(v)]));
    this.#stream.write({ log: { level, message: String(message), fields: asText } }, () => this.#logs--);
  }

  /** Sets a number that the server shows beside its own. */
  metric(name, value) {
    this.#metrics[name] = value;
    this.#news = true;
  }

  #publish(items) {
    for (const item of items) item.context_id = context.getStore() ?? "";
    const mine = this.#turn.then(() => this.#push(items));
    this.#turn = mine.catch(() => {});
    return mine;
  }

  async #push(items) {
    const most = this.#welcome.max_message_bytes || 1 << 20;
    const sized = items.map((item) => ({ item, bytes: Buffer.byteLength(JSON.stringify(item)) })); // never less than it takes
    const large = sized.find(({ bytes }) => bytes + 100 > most);
    if (large) throw new Error(`an item of ${large.bytes} bytes doesn't fit into a message of ${most}`);
    for (const one of sized) {
      if (this.#credit === 0) this.#send(); // no credit comes back before
      await this.#until(() => this.#credit > 0);
      this.#credit--;
      this.#published++;
      this.#pending.push(one);
    }
    this.#send();
  }

  #send() {
    const urgent = () => this.#results.length > 0 && this.#results[0].after > this.#sent;
    for (;;) {
      while (this.#results.length && this.#results[0].after <= this.#sent) {
        this.#stream.write({ result: this.#results.shift().result });
      }
      const n = this.#pending.length;
      if (n === 0 || (this.#flying.length >= maxFlying && n < worthABatch && !urgent())) return;
      this.#batch();
    }
  }

  #batch() {
    const most = this.#welcome.max_message_bytes || 1 << 20;
    const items = [];
    for (let bytes = 100; this.#pending.length && items.length < (this.#welcome.max_batch_items || 1000);) {
      bytes += this.#pending[0].bytes;
      if (bytes > most) break;
      items.push(this.#pending.shift().item);
    }
    const id = ++this.lastBatch;
    this.#sent += items.length;
    this.#flying.push({ id, items });
    this.#stream.write({ batch: { id, items } });
  }

  /** Takes a message of the host. */
  take({ ack, command, cancel, beat }) {
    if (ack) this.#acknowledged(ack);
    else if (command) this.#begin(command);
    else if (cancel) this.#commands.get(cancel.id)?.abort(new Error("nobody waits for it any more"));
    else if (beat) {
      this.#stream.write({ beat });
      if (this.#news) this.#stream.write({ metrics: { values: this.#metrics } });
      this.#news = false;
    }
  }

  #acknowledged(ack) {
    const batch = this.#flying.shift();
    if (batch?.id !== ack.batch) throw new Error(`the host acknowledges batch ${ack.batch}, not ${batch?.id}`);
    for (const e of ack.errors) this.#refused.push(`${JSON.stringify(batch.items[e.item])}: ${e.message}`);
    this.#refused.splice(20); // who never flushes must not gather them
    this.#stored += batch.items.length;
    this.#credit += ack.credit;
    this.#send();
    this.#look();
  }

  #until(ok) {
    if (this.#over) return Promise.reject(this.#over);
    if (ok()) return Promise.resolve();
    return new Promise((resolve, reject) => this.#waiting.push({ ok, resolve, reject }));
  }

  #look() {
    this.#waiting = this.#waiting.filter((w) => !(w.ok() && (w.resolve(), true)));
  }

  /** Ends the session: the host is gone. */
  end(reason) {
    this.#over ??= reason;
    for (const w of this.#waiting) w.reject(this.#over);
    this.#waiting = [];
    for (const c of this.#commands.values()) c.abort(this.#over);
  }

  /** Takes no more commands, and waits until those under way are answered. */
  drainCommands() {
    this.draining = true;
    return this.#until(() => this.#commands.size === 0);
  }

  /** Waits until all that was published is stored. */
  async settle() {
    await this.#turn;
    await this.#until(() => this.#stored === this.#published && this.#results.length === 0);
  }

  // Commands of one entity run one after another, and each is answered once, at its
  // deadline at the latest, so that nothing is left of those that wait for one that hangs.
  #begin(w) {
    const refusal = this.#refusal(w.entity_id, w.service);
    if (refusal) return this.#answer(w.id, refusal);
    const abort = new AbortController();
    this.#commands.set(w.id, abort);
    const timer = setTimeout(() => abort.abort(new Error("the adapter didn't do it in time")), w.timeout_ms || 60_000);
    const queue = this.#queues.get(w.entity_id) ?? [];
    const command = { w, signal: abort.signal };
    command.finish = (...answer) => {
      if (this.#commands.get(w.id) !== abort) return; // it is answered
      clearTimeout(timer);
      this.#commands.delete(w.id);
      if (queue.includes(command)) queue.splice(queue.indexOf(command), 1);
      if (!this.#over) this.#answer(w.id, ...answer);
      this.#look();
    };
    abort.signal.addEventListener("abort", () => command.finish(abort.signal.reason.message));
    queue.push(command);
    if (!this.#queues.has(w.entity_id)) this.#work(w.entity_id, queue);
  }

  async #work(entity, queue) {
    this.#queues.set(entity, queue);
    while (queue.length) {
      const { w, signal, finish } = queue.shift();
      try {
        const { id, entity_id, domain, service } = w;
        const command = { id, entity_id, domain, service, data: JSON.parse(w.data || "{}"), signal };
        finish("", text(await context.run(w.context_id, this.#handler, command)));
      } catch (e) {
        finish(e?.message || String(e), "", e instanceof RangeError);
      }
    }
    this.#queues.delete(entity);
  }

  #refusal(entity, service) {
    if (this.draining) return "the adapter is draining";
    if (!this.#handler) return "the adapter takes no commands";
    if (entity && !this.#services.get(entity)?.includes(service)) return `${entity} takes no ${service}`;
  }

  #answer(id, error, response = "", invalid = false) {
    this.#results.push({ after: this.#published, result: { id, error, response, invalid } });
    this.#send();
  }
}
