package config

import (
	"log/slog"
	"strings"
	"time"
)

// A key is one setting of the file: the schema is the list of them, and what
// parsing, differences, the template and the document are made from.
type key struct {
	path    string // dotted
	brief   string // what it does, in a few words: for the template
	doc     string // what it does, in whole sentences: for the document
	example string // a value for hints, where the default is none
	restart bool   // takes effect at the next start only
	value
}

// A value is how a key's value is read and written.
type value struct {
	kind string                     // what may be written, with the range: "a duration, 1s to 1m"
	set  func(*parser, *Config, at) // reads what stands in the file, or reports why not
	text func(*Config) string       // as it would be written in the file
	// group tells that keys stand below it: none is as good as no key at all.
	group bool
}

const (
	day  = 24 * time.Hour
	year = 365 * day

	kib = 1 << 10
	mib = 1 << 20
	gib = 1 << 30
	tib = 1 << 40
)

var schema = []key{
	{path: "server.listen", restart: true,
		brief: "address and port; 0.0.0.0:8123 opens it to your network",
		doc:   "Address and port. Only this machine can connect until you change it: 0.0.0.0:8123 opens it to your network.",
		value: one(address, func(c *Config) *string { return &c.Server.Listen })},
	{path: "server.tls.cert", restart: true, example: "cert.pem",
		brief: "for HTTPS: a PEM file in this folder, with its key below",
		doc:   "Certificate for HTTPS: a PEM file. Needs the key, too.",
		value: one(filePath, func(c *Config) *string { return &c.Server.TLS.Cert })},
	{path: "server.tls.key", restart: true, example: "key.pem",
		brief: "a PEM file, such as key.pem",
		doc:   "The certificate's private key: a PEM file.",
		value: one(filePath, func(c *Config) *string { return &c.Server.TLS.Key })},
	{path: "server.cors.origins", example: `["https://dash.example.com"]`,
		brief: `pages from elsewhere that may use the API, such as ["https://dash.example.com"], or ["*"]`,
		doc:   `Web pages from elsewhere that may use the API in a browser; ["*"] means all.`,
		value: list(origin, 256, func(c *Config) *[]string { return &c.Server.CORS.Origins })},
	{path: "server.header_timeout", restart: true,
		brief: "for a client to send the head of a request",
		doc:   "How long a client may take to send the head of a request.",
		value: one(durations(100*time.Millisecond, 5*time.Minute, ""), func(c *Config) *time.Duration { return &c.Server.HeaderTimeout })},
	{path: "server.drain",
		brief: "spread the ends of streams at shutdown over this time",
		doc:   "When the server stops, the ends of the streams are spread over this time, so that their readers don't come back all at once.",
		value: one(durations(0, time.Minute, ""), func(c *Config) *time.Duration { return &c.Server.Drain })},

	{path: "auth.lockout.failures",
		brief: "after so many wrong credentials (0 = never)",
		doc:   "After so many wrong credentials within the window an address is refused for the duration. 0 means never.",
		value: one(counts(0, 1e6), func(c *Config) *int { return &c.Auth.Lockout.Failures })},
	{path: "auth.lockout.window",
		brief: "within this time",
		doc:   "The time within which wrong credentials are counted.",
		value: one(durations(time.Second, day, ""), func(c *Config) *time.Duration { return &c.Auth.Lockout.Window })},
	{path: "auth.lockout.duration",
		brief: "an address is refused for so long",
		doc:   "How long the address is refused.",
		value: one(durations(time.Second, 30*day, ""), func(c *Config) *time.Duration { return &c.Auth.Lockout.Duration })},
	{path: "auth.jwt.hs256_secret_file", example: "jwt-secret",
		brief: "accept JSON web tokens signed with the secret in this file",
		doc:   "Accept JSON web tokens signed with the secret in this file (HS256).",
		value: one(filePath, func(c *Config) *string { return &c.Auth.JWT.HS256SecretFile })},
	{path: "auth.jwt.public_key_files", example: "[issuer.pem]",
		brief: "or by one of these keys: [issuer.pem]",
		doc:   "Accept JSON web tokens signed by one of these public keys (PEM files; RS256, ES256 or EdDSA).",
		value: list(filePath, 32, func(c *Config) *[]string { return &c.Auth.JWT.PublicKeyFiles })},
	{path: "auth.jwt.issuer", example: "https://login.example.com",
		brief: "of this issuer only",
		doc:   "Accept only tokens of this issuer (iss).",
		value: one(words, func(c *Config) *string { return &c.Auth.JWT.Issuer })},
	{path: "auth.jwt.audience", example: "carillon",
		brief: "for this audience only",
		doc:   "Accept only tokens made for this audience (aud).",
		value: one(words, func(c *Config) *string { return &c.Auth.JWT.Audience })},

	{path: "limits.body",
		brief: "largest request body",
		doc:   "Largest request body.",
		value: one(sizes(kib, 256*mib), func(c *Config) *int64 { return &c.Limits.Body })},
	{path: "limits.streams",
		brief: "most open streams (0 = what the system allows)",
		doc:   "Most streams open at once. 0 means as many as the system allows files to be open.",
		value: one(counts(0, 1e7), func(c *Config) *int { return &c.Limits.Streams })},
	{path: "limits.streams_per_address",
		brief: "most open streams from one address (0 = no limit)",
		doc:   "Most streams open at once from one address. 0 means no limit.",
		value: one(counts(0, 1e7), func(c *Config) *int { return &c.Limits.StreamsPerAddress })},
	{path: "limits.streams_per_credential",
		brief: "most open streams with one token or JWT subject (0 = no limit)",
		doc:   "Most streams open at once with one credential: the administrator's token, or JSON web tokens of one subject. 0 means no limit.",
		value: one(counts(0, 1e7), func(c *Config) *int { return &c.Limits.StreamsPerCredential })},
	{path: "limits.polls",
		brief: "most polls that wait at once",
		doc:   "Most polls (GET /api/events/poll) that wait for an event at once. They count as streams of their address and credential, too.",
		value: one(counts(1, 1e6), func(c *Config) *int { return &c.Limits.Polls })},
	{path: "limits.connections_per_second",
		brief: "new connections from one address (0 = no limit)",
		doc:   "Most new connections within a second from one address. 0 means no limit; all clients of a proxy have its address.",
		value: one(counts(0, 1e6), func(c *Config) *int { return &c.Limits.ConnectionsPerSecond })},
	{path: "limits.selection_items",
		brief: "most types, domains and entities in one stream's selection",
		doc:   "Most names (types, domains and entities together) that one stream may ask for.",
		value: one(counts(1, 1e5), func(c *Config) *int { return &c.Limits.SelectionItems })},
	{path: "limits.filter_bytes",
		brief: "longest text of a filter",
		doc:   "Longest text of one filter. What stands in an address is bounded by its 16 KiB, too.",
		value: one(sizes(64, mib), func(c *Config) *int64 { return &c.Limits.FilterBytes })},
	{path: "limits.filters_per_credential",
		brief: "most different filters with one token or JWT subject (0 = no limit)",
		doc:   "Most different filters that streams and polls with one credential have at once: the administrator's token, or JSON web tokens of one subject. 0 means no limit.",
		value: one(counts(0, 1e6), func(c *Config) *int { return &c.Limits.FiltersPerCredential })},

	{path: "stream.tape", restart: true,
		brief: "memory for recent events, per format",
		doc:   "Memory for recent events, per format: readers within it are served without touching the disk.",
		value: one(sizes(64*kib, 16*gib), func(c *Config) *int64 { return &c.Stream.Tape })},
	{path: "stream.send_buffer", restart: true,
		brief: "system memory for a slow reader, per stream",
		doc:   "The system's memory per stream for what a slow reader has not taken yet.",
		value: one(sizes(4*kib, 16*mib), func(c *Config) *int64 { return &c.Stream.SendBuffer })},
	{path: "stream.beat", restart: true,
		brief: "time between two signs of life",
		doc:   "A sign of life goes out at least so often: proxies, phones and some browsers give a silent stream up.",
		value: one(durations(100*time.Millisecond, 15*time.Second, ""), func(c *Config) *time.Duration { return &c.Stream.Beat })},
	{path: "stream.retry",
		brief: "when readers come back after a lost connection, about",
		doc:   "When readers come back after a lost connection. Each is told a little more or less, so that they don't come all at once.",
		value: one(durations(100*time.Millisecond, 10*time.Minute, ""), func(c *Config) *time.Duration { return &c.Stream.Retry })},
	{path: "stream.max_age",
		brief: "end streams after this time, for proxies that cut them (0 = never)",
		doc:   "End streams after this time, for readers to come back without loss. 0 means never; use it where a proxy cuts long requests.",
		value: one(durations(time.Second, 30*day, "never"), func(c *Config) *time.Duration { return &c.Stream.MaxAge })},
	{path: "stream.slow",
		brief: "what becomes of a slow stream: replay, conflate or disconnect",
		doc:   "What becomes of a stream whose reader is too slow, unless it says so itself: it gets everything from the journal (replay), the latest of each entity (conflate), or its end, to come back (disconnect).",
		value: one(choices([]string{"replay", "conflate", "disconnect"}, []string{"replay", "conflate", "disconnect"}), func(c *Config) *string { return &c.Stream.Slow })},

	{path: "journal.max_age",
		brief: "how long events are kept (0 = up to max_bytes)",
		doc:   "How long events are kept. 0 means until max_bytes is reached.",
		value: one(durations(time.Minute, 100*year, "no limit"), func(c *Config) *time.Duration { return &c.Journal.MaxAge })},
	{path: "journal.max_bytes",
		brief: "and how much disk they may take; the oldest go first",
		doc:   "How much disk the events may take; the oldest go first.",
		value: one(sizes(mib, 1024*tib), func(c *Config) *int64 { return &c.Journal.MaxBytes })},

	{path: "scripts.grace",
		brief: "until the entities of a deleted script are removed",
		doc:   "How long the entities of a deleted script stay, as unavailable, before they are removed.",
		value: one(durations(0, year, ""), func(c *Config) *time.Duration { return &c.Scripts.Grace })},
	{path: "scripts.timeout",
		brief: "how long a script's function may run at a stretch",
		doc:   "How long a script's function may run at a stretch before it is stopped.",
		value: one(durations(10*time.Millisecond, 5*time.Minute, ""), func(c *Config) *time.Duration { return &c.Scripts.Timeout })},
	{path: "scripts.permissions", example: `{host.js: {read: [/proc/loadavg]}}`,
		brief: "which files a script may read, by script; * stands for any name",
		doc:   "What scripts may do besides the ordinary, by script: read names the files that read() may open. * stands for any characters within a name.",
		value: permissions},

	{path: "plugins", example: "{hostsensors: {config: {interval: 5s}}}",
		brief: "how adapters are run, by name; each executable in plugins/ is one",
		doc:   "How adapters are run, by name. Each executable in `home/plugins` is an adapter of its file's name and needs no entry here.",
		value: plugins},

	{path: "filters.full_javascript", example: "[dashboards]",
		brief: "JWT subjects whose filters may use all of JavaScript, as yours may",
		doc:   "JWT subjects whose filters may use all of JavaScript, as those of the administrator and those in home/filters may. They run in a process of their own.",
		value: list(words, 1000, func(c *Config) *[]string { return &c.Filters.FullJavaScript })},
	{path: "filters.worker.memory", restart: true,
		brief: "most memory for the filters in a process that runs such",
		doc:   "Most memory that the filters in a process of full JavaScript take together: there is one for home/filters, and one for each credential. The process has some 15 MB beside that.",
		value: one(sizes(16*mib, 16*gib), func(c *Config) *int64 { return &c.Filters.Worker.Memory })},
	{path: "filters.worker.deadline", restart: true,
		brief: "how long such a filter may take for an event, or to be loaded",
		doc:   "How long such a filter may take for one event, or to be loaded. One that takes longer is stopped, and not asked for 10 minutes.",
		value: one(durations(5*time.Millisecond, 10*time.Second, ""), func(c *Config) *time.Duration { return &c.Filters.Worker.Deadline })},

	{path: "log.level",
		brief: "debug, info, warn or error",
		doc:   "The least important lines that are logged.",
		value: one(choices([]string{"debug", "info", "warn", "error"},
			[]slog.Level{slog.LevelDebug, slog.LevelInfo, slog.LevelWarn, slog.LevelError}),
			func(c *Config) *slog.Level { return &c.Log.Level })},
	{path: "log.format", restart: true,
		brief: "text or json",
		doc:   "Lines for people, or for machines.",
		value: one(choices([]string{"text", "json"}, []string{"text", "json"}), func(c *Config) *string { return &c.Log.Format })},
}

// lookup returns the key with this dotted path.
func lookup(path string) *key {
	for i := range schema {
		if schema[i].path == path {
			return &schema[i]
		}
	}
	return nil
}

// children returns the names directly under a section, in the schema's order;
// none if there is no such section. The whole file is the section "".
func children(section string) []string {
	var names []string
	for _, k := range schema {
		rest := k.path
		if section != "" {
			var ok bool
			if rest, ok = strings.CutPrefix(k.path, section+"."); !ok {
				continue
			}
		}
		name, _, _ := strings.Cut(rest, ".")
		if len(names) == 0 || names[len(names)-1] != name {
			names = append(names, name)
		}
	}
	return names
}

// join appends a name to a dotted path.
func join(section, name string) string {
	if section == "" {
		return name
	}
	return section + "." + name
}

// hintValue returns a value of the key that is right.
func (k *key) hintValue() string {
	if k.example != "" {
		return k.example
	}
	return k.text(Default())
}
