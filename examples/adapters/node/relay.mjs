// An adapter for a relay on a pin of this machine.
import { readFile, writeFile } from "node:fs/promises";
import { setTimeout as sleep } from "node:timers/promises";
import { serve } from "./carillon.mjs";

let path; // the pin's file, /sys/class/gpio/gpio17/value

const publish = async (host) => {
  const state = (await readFile(path, "utf8")).trim() === "1" ? "on" : "off";
  await host.set({ entity_id: "switch.relay", state });
};

serve({
  name: "relay",
  version: "1.0",
  summary: "A relay on a pin of this machine.",

  configure(config, { validateOnly }) {
    if (typeof config.path !== "string") return [{ field: "/path", message: "must be the file of a pin" }];
    if (!validateOnly) path = config.path;
  },

  async run(host, signal) {
    host.onCommand(async ({ service }) => {
      await writeFile(path, { turn_on: "1", turn_off: "0" }[service]);
      await publish(host);
    });
    await host.declare({
      id: path, name: "Relay",
      entities: [{ entity_id: "switch.relay", services: ["turn_on", "turn_off"], attributes: { friendly_name: "Relay" } }],
    });
    await host.flush(); // throws if somebody else has switch.relay
    while (!signal.aborted) {
      await publish(host);
      await sleep(100, undefined, { signal }).catch(() => {});
    }
  },
});
