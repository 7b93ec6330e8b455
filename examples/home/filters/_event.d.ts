// What a filter sees, for editors and type checkers: docs/filters.md.

/** An event; all of it is read-only. What it has not is undefined. */
export interface Event {
  readonly type: string;
  readonly entity_id?: string;
  readonly domain?: string;
  /** Who made it: "hall.js@7", "api", "core". */
  readonly source: string;
  /** Milliseconds since 1970, like all times here. */
  readonly time: number;
  readonly seq: number;
  /** Of a state_changed: the new state. */
  readonly state?: string;
  /** The state as a number, if it is one. */
  readonly number?: number;
  /** attributes.unit_of_measurement, if it is a string. */
  readonly unit?: string;
  readonly attributes?: Attributes;
  /** The state before, if there was one. */
  readonly old?: State;
  /** The event's data as it is in /api/stream. */
  readonly data: { readonly [name: string]: any };
  readonly last_changed?: number;
  readonly last_updated?: number;
}

export interface State {
  readonly state: string;
  readonly number?: number;
  readonly unit?: string;
  readonly attributes: Attributes;
  readonly last_changed: number;
  readonly last_updated: number;
}

export interface Attributes {
  readonly friendly_name?: string;
  readonly unit_of_measurement?: string;
  readonly device_class?: string;
  readonly [name: string]: any;
}

/** Parameters, as the address or the body gives them. */
export interface Params {
  readonly [name: string]: string | number | boolean | undefined;
}
