// The session's tests: node --expose-gc --test host.test.mjs
import assert from "node:assert";
import { test } from "node:test";
import { setImmediate as turn, setTimeout as sleep } from "node:timers/promises";
import { Host } from "./host.mjs";

test("a handler that hangs costs the commands of its entity, and no memory", { timeout: 20_000 }, async () => {
  const results = [];
  const host = new Host({ write: (m) => results.push(m.result) }, { credit: 100 });
  const handled = [];
  let end;
  host.onCommand(({ id, entity_id }) => {
    handled.push(id);
    if (entity_id === "light.a") return new Promise((resolve) => { end = resolve; });
  });
  await host.declare({ id: "d", entities: ["light.a", "light.b"].map((entity_id) => ({ entity_id, services: ["turn_on"] })) });
  results.length = 0; // the device

  const refs = [];
  const command = (id, entity_id, timeout_ms) => {
    const w = { id, entity_id, domain: "light", service: "turn_on", data: "{}", timeout_ms, context_id: "" };
    refs.push(new WeakRef(w));
    host.take({ command: w });
  };
  const answers = async (n) => { while (results.length < n) await sleep(1); };
  for (let id = 1; id <= 50; id++) command(id, "light.a", 1);
  await answers(50);
  for (const r of results) assert.match(r.error, /in time/);
  const kept = () => refs.slice(1).filter((r) => r.deref()).length;
  for (let n = 0; n < 20 && kept() > 0; n++) {
    await sleep(1);
    globalThis.gc();
  }
  assert.equal(kept(), 0, "commands that are answered and still held");

  command(51, "light.b", 10_000);
  await answers(51);
  assert.equal(results[50].error, "");
  command(52, "light.a", 10_000);
  assert.deepEqual(handled, [1, 51]);
  end();
  while (handled.length < 3) await turn();
  end();
  await answers(52);
  assert.deepEqual(handled, [1, 51, 52]);
  assert.deepEqual(results[51], { id: 52, error: "", response: "", invalid: false });
});

test("what is published at once may be more than there is credit for", { timeout: 20_000 }, async () => {
  const states = [];
  const host = new Host({
    write: ({ batch }) => {
      states.push(...batch.items.map((item) => item.state.state));
      setImmediate(() => host.take({ ack: { batch: batch.id, credit: batch.items.length, errors: [] } }));
    },
  }, { credit: 2, max_message_bytes: 1000 });
  const state = (value) => ({ entity_id: "light.a", state: value });
  await host.set(...[1, 2, 3, 4, 5].map(state));
  await assert.rejects(host.set(state(6), state("x".repeat(1000))), /doesn't fit/);
  await host.flush();
  assert.deepEqual(states, ["1", "2", "3", "4", "5"], "of what is refused nothing is published");
});
