package main

// schema is the JSON schema of the configuration. What one key means for another, Configure checks.
const schema = `{
  "$schema": "https://json-schema.org/draft/2020-12/schema",
  "type": "object",
  "additionalProperties": false,
  "required": ["devices"],
  "properties": {
    "interval": {"type": "string", "default": "10s", "description": "Time between two reads, 100ms to 24h, for devices that say nothing else."},
    "devices": {"type": "array", "minItems": 1, "maxItems": 250, "items": {"$ref": "#/$defs/device"}}
  },
  "$defs": {
    "device": {
      "type": "object",
      "additionalProperties": false,
      "required": ["address", "entities"],
      "properties": {
        "id": {"type": "string", "maxLength": 100, "description": "What tells the device from others; its address and unit id by default."},
        "name": {"type": "string", "maxLength": 100},
        "manufacturer": {"type": "string", "maxLength": 100},
        "model": {"type": "string", "maxLength": 100},
        "address": {"type": "string", "examples": ["192.168.1.50:502"], "description": "Host and port. Devices with the same address share one connection."},
        "protocol": {"enum": ["tcp", "rtu_over_tcp"], "default": "tcp", "description": "How frames look: those of Modbus TCP, or those of a serial line."},
        "unit_id": {"type": "integer", "minimum": 0, "maximum": 255, "default": 1},
        "interval": {"type": "string", "description": "Time between two reads, 100ms to 24h."},
        "timeout": {"type": "string", "default": "3s", "description": "How long a request may take, 50ms to 1m."},
        "retries": {"type": "integer", "minimum": 0, "maximum": 5, "default": 1, "description": "How often a read that is not answered is repeated at once."},
        "pause": {"type": "string", "description": "Time between an answer and the next request, up to 10s; 0s by default, 5ms for rtu_over_tcp."},
        "connect_delay": {"type": "string", "default": "0s", "description": "Time between connecting and the first request, up to 10s."},
        "max_registers": {"type": "integer", "minimum": 1, "maximum": 125, "default": 125, "description": "Most registers of one read."},
        "max_bits": {"type": "integer", "minimum": 1, "maximum": 2000, "default": 2000, "description": "Most coils or discrete inputs of one read."},
        "max_gap": {"type": "integer", "minimum": 0, "maximum": 2000, "default": 0, "description": "How many registers or bits that nobody wants may be read over."},
        "order": {"enum": ["ABCD", "CDAB", "BADC", "DCBA"], "default": "ABCD", "description": "Order of bytes and words."},
        "entities": {"type": "array", "minItems": 1, "maxItems": 1000, "items": {"$ref": "#/$defs/entity"}}
      }
    },
    "entity": {
      "type": "object",
      "additionalProperties": false,
      "required": ["id", "table", "address"],
      "properties": {
        "id": {"type": "string", "pattern": "^(sensor|binary_sensor|switch|number|select|button)[.][a-z0-9]+(_[a-z0-9]+)*$"},
        "name": {"type": "string", "maxLength": 100, "description": "Made of the id by default."},
        "table": {"enum": ["holding", "input", "coil", "discrete"]},
        "address": {"type": "integer", "minimum": 0, "maximum": 65535, "description": "0 is the first of the table, which many manuals number 40001, 30001, 1 or 10001."},
        "unit_id": {"type": "integer", "minimum": 0, "maximum": 255, "description": "That of the device by default."},
        "type": {"enum": ["bool", "int16", "uint16", "int32", "uint32", "int64", "uint64", "float32", "float64", "string"], "description": "uint16 by default, bool for bits."},
        "length": {"type": "integer", "minimum": 1, "maximum": 125, "description": "Of a string, in registers."},
        "bit": {"type": "integer", "minimum": 0, "maximum": 15, "description": "One bit of the register; 0 is the lowest."},
        "order": {"enum": ["ABCD", "CDAB", "BADC", "DCBA"], "description": "That of the device by default."},
        "scale": {"type": "number", "default": 1, "description": "The state is the raw value times scale plus offset."},
        "offset": {"type": "number", "default": 0},
        "precision": {"type": "integer", "minimum": 0, "maximum": 9, "description": "Digits behind the point; those of scale and offset by default."},
        "unit": {"type": "string", "description": "Unit of measurement."},
        "device_class": {"type": "string"},
        "state_class": {"type": "string"},
        "icon": {"type": "string"},
        "min": {"type": "number", "description": "Least value; a sensor's that is below is unknown."},
        "max": {"type": "number", "description": "Greatest value; a sensor's that is above is unknown."},
        "step": {"type": "number", "exclusiveMinimum": 0, "description": "Of a number; scale by default."},
        "invalid": {"type": "array", "items": {"type": "number"}, "description": "Raw values that stand for no value."},
        "map": {"type": "object", "minProperties": 1, "maxProperties": 256, "description": "Words by raw value."},
        "on_value": {"type": "number", "description": "Raw value that is on; by default 1, and all that is not off."},
        "off_value": {"type": "number", "default": 0, "description": "Raw value that is off."},
        "press_value": {"type": "number", "default": 1, "description": "Raw value that a button writes."},
        "interval": {"type": "string", "description": "Time between two reads, 100ms to 24h; that of the device by default."},
        "write": {"$ref": "#/$defs/write"}
      }
    },
    "write": {
      "type": "object",
      "additionalProperties": false,
      "properties": {
        "table": {"enum": ["holding", "coil"], "description": "That of the entity by default."},
        "address": {"type": "integer", "minimum": 0, "maximum": 65535, "description": "That of the entity by default."},
        "function": {"enum": [5, 6, 15, 16, 22], "description": "5 for a coil, 6 for one register and 16 for more by default."},
        "verify": {"type": "boolean", "default": true, "description": "Whether it is read back."},
        "settle": {"type": "string", "default": "0s", "description": "How long it may take until it reads as it was written, up to 5s."}
      }
    }
  }
}`
