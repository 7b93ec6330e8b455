// Serves an adapter to Carillon: the handshake, the services, the end of the process.
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import grpc from "@grpc/grpc-js";
import loader from "@grpc/proto-loader";
import { selfSigned } from "./certificate.mjs";
import { Host } from "./host.mjs";

const magic = "8f1c4f52b7d94f0e9a63d0c5a1b2e37f";

function load(file) {
  const options = { keepCase: true, longs: Number, enums: String, defaults: true, oneofs: true };
  return grpc.loadPackageDefinition(loader.loadSync(path.join(import.meta.dirname, file), options));
}

/**
 * Serves an adapter: {name, version, summary, schema, exclusive, reconfigures,
 * configure(config, {validateOnly, stateDir}), run(host, signal), discover(found, signal), health()}.
 * Configure returns what is wrong, [{field, message}], or throws. Run publishes until
 * the signal is aborted, and then resolves; if it throws, the process ends.
 */
export function serve(adapter) {
  if (process.env.CARILLON_ADAPTER !== magic) {
    console.error(`${adapter.name}: ${adapter.summary}\n\nThis is an adapter for Carillon, which starts it by itself.`);
    process.exit(1);
  }
  console.log = console.info = console.error; // the first line of stdout is the host's
  const life = new Life(adapter);
  const server = new grpc.Server();
  server.addService(load("adapter.proto").carillon.adapter.v1.Adapter.service, life.services());
  server.addService(load("health.proto").grpc.health.v1.Health.service, {
    Check: (_, reply) => reply(null, { status: "SERVING" }),
  });
  const { GRPCController, GRPCStdio } = load("plugin.proto").plugin;
  server.addService(GRPCController.service, { Shutdown: (_, reply) => { reply(null, {}); life.leave(); } });
  server.addService(GRPCStdio.service, {
    StreamStdio: (call) => { life.connected = true; call.on("cancelled", () => life.leave()); },
  });
  const { credentials, line } = authentication();
  const listens = (network, address) => process.stdout.write(`1|1|${network}|${address}|grpc|${line}\n`);
  if (process.platform === "win32") {
    return server.bindAsync("127.0.0.1:0", credentials, (err, port) => {
      if (err) throw err;
      listens("tcp", `127.0.0.1:${port}`);
    });
  }
  const folder = mkdtempSync(path.join(process.env.PLUGIN_UNIX_SOCKET_DIR || tmpdir(), "p"));
  process.on("exit", () => rmSync(folder, { recursive: true, force: true }));
  const socket = path.join(folder, "s");
  server.bindAsync(`unix:${socket}`, credentials, (err) => {
    if (err) throw err;
    listens("unix", socket);
  });
}

/** Both sides show a certificate that was made for this process, if the host wants that. */
function authentication() {
  const host = process.env.PLUGIN_CLIENT_CERT;
  if (!host) return { credentials: grpc.ServerCredentials.createInsecure(), line: "" };
  const { cert, key, der } = selfSigned();
  const pair = { cert_chain: Buffer.from(cert), private_key: Buffer.from(key) };
  return {
    credentials: grpc.ServerCredentials.createSsl(Buffer.from(host), [pair], true),
    line: der.toString("base64").replaceAll("=", ""),
  };
}

/** Ends a call with an error. */
const refuse = (call, code, details) => call.emit("error", { code, details });

/** The life of an adapter's process: configured, one session, the end. */
class Life {
  #adapter;
  #configured = false;
  #host;
  #draining = new AbortController();
  #ended; // resolved at the end of the session
  connected = false;

  constructor(adapter) {
    this.#adapter = adapter;
    setTimeout(() => this.connected || process.exit(1), 60_000).unref(); // nobody came
    process.on("SIGINT", () => {}); // the host's to obey
    process.on("SIGTERM", () => {
      setTimeout(() => process.exit(1), 10_000).unref();
      this.#drain().finally(() => this.#host || process.exit()); // else when the host has heard of the end
    });
  }

  services() {
    const unary = (f) => (call, reply) => f(call.request).then((r) => reply(null, r), (e) => reply({ code: e.code ?? grpc.status.UNKNOWN, message: e.message }));
    return {
      Describe: unary(async () => this.#describe()),
      Configure: unary((r) => this.#configure(r)),
      Health: unary(() => this.#health()),
      Drain: unary(() => this.#drain()),
      Discover: (call) => this.#discover(call),
      Session: (stream) => this.#session(stream),
    };
  }

  #describe() {
    const { name, version, summary, schema, exclusive, reconfigures, discover } = this.#adapter;
    return { name, version, summary, schema: schema ? JSON.stringify(schema) : "", exclusive, reconfigures, discovers: Boolean(discover) };
  }

  async #configure({ config, validate_only, state_dir }) {
    if (this.#host && !validate_only && !this.#adapter.reconfigures) {
      throw Object.assign(new Error("the adapter runs, and can't be configured anew while it does"), { code: grpc.status.FAILED_PRECONDITION });
    }
    let errors;
    try {
      errors = await this.#adapter.configure(JSON.parse(config || "{}"), { validateOnly: validate_only, stateDir: state_dir });
    } catch (e) {
      errors = [{ field: "", message: e.message }];
    }
    if (!errors?.length && !validate_only) this.#configured = true;
    return { errors: errors ?? [] };
  }

  async #health() {
    if (!this.#configured) return { ready: false, detail: "it is not configured" };
    return this.#adapter.health ? this.#adapter.health() : { ready: true };
  }

  async #discover(call) {
    if (!this.#adapter.discover) return refuse(call, grpc.status.UNIMPLEMENTED, "it can't look for devices");
    const end = new AbortController();
    const timer = setTimeout(() => end.abort(), call.request.timeout_ms || 60_000);
    call.on("cancelled", () => end.abort());
    try {
      await this.#adapter.discover(({ id, title, config }) => call.write({ id, title, config: JSON.stringify(config) }), end.signal);
      call.end();
    } catch (e) {
      end.signal.aborted ? call.end() : refuse(call, grpc.status.ABORTED, e.message);
    }
    clearTimeout(timer);
  }

  #session(stream) {
    stream.once("data", ({ welcome }) => {
      const wrong = !welcome ? "a session begins with a Welcome"
        : !this.#configured ? "the adapter is not configured"
        : this.#host ? "the adapter has its session already" : "";
      if (wrong) return refuse(stream, grpc.status.FAILED_PRECONDITION, wrong);
      const host = (this.#host = new Host(stream, welcome));
      stream.on("data", (m) => {
        try {
          host.take(m);
        } catch (e) { // the host breaks the contract
          host.end(e);
          refuse(stream, grpc.status.INVALID_ARGUMENT, e.message);
        }
      });
      stream.on("cancelled", () => this.#lost());
      this.#ended = this.#run(stream, host);
    });
  }

  async #run(stream, host) {
    try {
      await this.#adapter.run(host, this.#draining.signal);
      await host.drainCommands();
      await host.settle();
      stream.removeAllListeners("cancelled"); // which also tells that the stream has ended here
      stream.end();
    } catch (e) {
      process.exitCode = 1;
      stream.removeAllListeners("cancelled"); // else the process is gone before the reason is sent
      refuse(stream, grpc.status.ABORTED, e.message);
    }
    host.end(new Error("the session is over"));
    setTimeout(() => process.exit(), 2000);
  }

  /** No more commands, then those under way, then the adapter, then what it published. */
  async #drain() {
    if (!this.#host) return { last_batch: 0 };
    await this.#host.drainCommands();
    this.#draining.abort();
    await this.#ended;
    return { last_batch: this.#host.lastBatch };
  }

  #lost() {
    this.#host.end(new Error("the host is gone"));
    this.leave();
  }

  /** Ends the process, when the adapter has let go of its hardware or soon. */
  leave() {
    this.#draining.abort();
    setTimeout(() => process.exit(), 500);
    Promise.resolve(this.#ended).then(() => process.exit());
  }
}
