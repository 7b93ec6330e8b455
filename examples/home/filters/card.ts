import type { Event } from "./_event";

// What a dashboard's card shows of a sensor, instead of the whole event: filter=@card
export default (e: Event) =>
  e.domain === "sensor" && e.number !== undefined && {
    id: e.entity_id,
    name: e.attributes!.friendly_name ?? e.entity_id,
    value: Math.round(e.number * 10) / 10,
    unit: e.unit ?? "",
    rising: e.number > (e.old?.number ?? e.number),
  };
