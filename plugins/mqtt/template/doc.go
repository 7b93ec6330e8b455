// Package template renders the part of Jinja2 that real firmware uses in the
// templates of Home Assistant's MQTT discovery messages: value_template,
// command_template, state_value_template, json_attributes_template and the like.
//
// Anybody who may publish to the broker may send a template, so a template is a
// stranger's program. Its text, its nesting, its steps, its output and each
// string and list that it makes are bounded (limits.go); regular expressions are
// RE2's. No function blocks, and none has an effect but its result. A Template
// and what Decode returns are immutable: any number of goroutines may use them
// at once.
//
// What a template uses and this package does not have is an error of Parse where
// the template shows it, and of Render where only the values show it. It is never
// guessed. So are whole numbers beyond 64 bits, and what a template would print
// differently each time: random, the addresses of generators and methods. What
// depends on the time, now() and utcnow(), is of the moment at which it is rendered;
// what depends on the time zone uses time.Local.
//
// # What Home Assistant does
//
// From helpers/template/__init__.py, components/mqtt/models.py and util/json.py
// of Home Assistant's source, and from Jinja2 3.1:
//
//   - White space around a template is removed (Template.__init__). A template
//     without {{, {% and {# is its own result, whatever the payload.
//   - The environment is Jinja2's ImmutableSandboxedEnvironment with the
//     extensions loopcontrols (break, continue) and do. trim_blocks and
//     lstrip_blocks are off: only the minus of {%- and -%} removes white space.
//   - White space around the result is removed. MqttValueTemplate and
//     MqttCommandTemplate take the result as text; nothing is made of it but that
//     a command that reads like a bytes literal, b'\x01', is sent as these bytes.
//   - A value template has value, the payload as text, and value_json if the
//     payload is JSON, read by orjson: without NaN, with whole numbers up to
//     1<<64-1, longer ones as floats. If it is no JSON, value_json is undefined,
//     and {{ value_json.x }} an error, while {{ value_json }} is empty.
//   - On an error of Jinja2's own, in effect on something undefined,
//     async_render_with_possible_json_value gives the payload as it came, or the
//     platform's default (Error.KeepsPayload). So is_defined skips messages that
//     lack a value (Error.Skips). On all other errors, as of
//     arithmetic, of types and of int without a default, the message is not used.
//   - A command template has value, entity_id, name and this, and what the
//     platform adds, such as red, green and blue. Its errors end the command.
//   - Methods come before keys behind a dot: {{ value_json.items }} is a method.
//     Methods that would change a value, update among them, are undefined in the
//     sandbox, so value_json.update.state fails; value_json['update'] does not.
//   - dict.from_keys(pairs) is not a function of anybody. Jinja2 falls back to
//     dict['from_keys'], which is an alias of dict in Python.
//
// # Where it differs
//
// tojson gives text that Jinja2 would escape other text for when it is added to
// it; that is not supported. Regular expressions that match the empty text are
// supported in match and search only. Exponents of ** are whole, or a half.
// The last digit of a log may differ. A time that a clock skips, as it is put
// forward, is as Go has it. as_timedelta, today_at, time_since, the attribute tzinfo
// and the methods of dates are not supported, and str.format takes arguments by
// their places only.
//
// testdata/templates.jsonl has templates of real firmware with payloads; they and
// random ones are compared with the real Jinja2 (testdata/oracle.py).
package template
