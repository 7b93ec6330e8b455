package config

import (
	"encoding/json"
	"log/slog"
	"reflect"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"
)

// full sets every key to something else than its default.
const full = `
server:
  listen: "[::]:443"
  tls: {cert: tls/cert.pem, key: 'tls/key.pem'}
  cors:
    origins:
      - HTTPS://Dash.Example.com:443
      - http://localhost:3000   # with a comment
      - capacitor://localhost
      - http://[::1]:80
  header_timeout: 2500ms
  drain: 0
auth:
  lockout: {failures: 0, window: 1h30m, duration: 1.5h}
  jwt:
    hs256_secret_file: secret
    public_key_files: [a.pem, /etc/b.pem]
    issuer: "https://login.example.com/: #1"
    audience: 42
limits:
  body: 64KB
  streams: 20000
  streams_per_address: 50
  streams_per_credential: 60
  polls: 70
  connections_per_second: 80
  selection_items: 1
  filter_bytes: 2KiB
  filters_per_credential: 90
stream:
  tape: 1.5 GiB
  send_buffer: 65536
  beat: 5s
  retry: 0.5s
  max_age: 1m
  slow: conflate
journal:
  max_age: 2w1d12h
  max_bytes: 2gib
scripts:
  grace: 1d
  timeout: 50ms
  permissions:
    "lights/*.js":
      read: [/proc/uptime, /proc/loadavg]
    hall.ts: {read: [/etc/hostname, /proc/uptime]}
    idle.js:
plugins:
  hostsensors:
  zigbee-2:
    path: /opt/zigbee
    args: [--port, /dev/ttyUSB0]
    config:
      channel: 15
      keys: {"a.b": [1, 2.5, true, null, "12", off]}
      template: |
        {{ value }}
        end
    sha256: 2CF24DBA5FB0A30E26E83B2AC5B9E29E1B161E5C1FA7425E73043362938B9824
    memory: 128MiB
    user: nobody
    env: [HOST_SYS=/host/sys, LANG]
    disabled: true
filters:
  full_javascript: [dashboards, "a b"]
  worker: {memory: 128MiB, deadline: 20ms}
log:
  level: debug
  format: json
`

func fullConfig() *Config {
	return &Config{
		Server: Server{Listen: "[::]:443", TLS: TLS{"tls/cert.pem", "tls/key.pem"},
			CORS: CORS{[]string{"https://dash.example.com", "http://localhost:3000", "capacitor://localhost", "http://[::1]"}}, HeaderTimeout: 2500 * time.Millisecond},
		Auth: Auth{Lockout{0, 90 * time.Minute, 90 * time.Minute},
			JWT{"secret", []string{"a.pem", "/etc/b.pem"}, "https://login.example.com/: #1", "42"}},
		Limits:  Limits{64000, 20000, 50, 60, 70, 80, 1, 2048, 90},
		Stream:  Stream{3 << 29, 65536, 5 * time.Second, 500 * time.Millisecond, time.Minute, "conflate"},
		Journal: Journal{15*day + 12*time.Hour, 2 << 30},
		Scripts: Scripts{day, 50 * time.Millisecond, map[string]Permission{
			"lights/*.js": {[]string{"/proc/uptime", "/proc/loadavg"}},
			"hall.ts":     {[]string{"/etc/hostname", "/proc/uptime"}},
			"idle.js":     {},
		}},
		Plugins: map[string]Plugin{
			"hostsensors": {},
			"zigbee-2": {
				Path: "/opt/zigbee", Args: []string{"--port", "/dev/ttyUSB0"}, User: "nobody", Memory: 128 << 20, Disabled: true,
				Config: json.RawMessage(`{"channel":15,"keys":{"a.b":[1,2.5,true,null,"12","off"]},"template":"{{ value }}\nend\n"}`),
				SHA256: "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824", Env: []string{"HOST_SYS=/host/sys", "LANG"},
			},
		},
		Filters: Filters{[]string{"dashboards", "a b"}, Worker{128 << 20, 20 * time.Millisecond}},
		Log:     Log{slog.LevelDebug, "json"},
	}
}

func mustParse(t *testing.T, text string) *Config {
	t.Helper()
	c, err := Parse("carillon.yaml", []byte(text))
	if err != nil {
		t.Fatalf("parsing:\n%v", err)
	}
	return c
}

func TestParseEveryKey(t *testing.T) {
	c := mustParse(t, full)
	if want := fullConfig(); !reflect.DeepEqual(c, want) {
		t.Errorf("got  %+v\nwant %+v", c, want)
	}
	if got := c.Diff(Default()); len(got) != len(schema) {
		t.Errorf("got %d keys set to something else than the default, want all %d", len(got), len(schema))
	}
}

func TestParseOtherForms(t *testing.T) {
	for name, text := range map[string]string{
		"Windows line ends": strings.ReplaceAll(full, "\n", "\r\n"),
		"byte order mark":   "\uFEFF" + full,
		"document start":    "---" + full,
		"tabs in comments":  "\t# x\n" + strings.ReplaceAll(full, "beat: 5s", "beat: 5s \t# x"),
		"no last line end":  strings.TrimRight(full, "\n"),
	} {
		t.Run(name, func(t *testing.T) {
			if c := mustParse(t, text); !reflect.DeepEqual(c, fullConfig()) {
				t.Errorf("got %+v, want the same as in the plain form", c)
			}
		})
	}
}

func TestEmptyIsDefault(t *testing.T) {
	for _, text := range []string{"", "\n", "# only a comment", "---\n", "server:\nlog:\n", "{}", "~", "scripts:\n  permissions:\n"} {
		c := mustParse(t, text)
		if diff := c.Diff(Default()); len(diff) != 0 {
			t.Errorf("%q: got a difference in %v, want Default()", text, diff)
		}
	}
}

// Each default is in its own range, and reads back as it is written.
func TestDefaultsAreValid(t *testing.T) {
	for _, c := range []*Config{Default(), fullConfig()} {
		for _, k := range schema {
			value := k.text(c)
			var text strings.Builder
			parts := strings.Split(k.path, ".")
			for i, name := range parts {
				text.WriteString(strings.Repeat("  ", i) + name + ":")
				if i == len(parts)-1 {
					text.WriteString(" " + value)
				}
				text.WriteString("\n")
			}
			p := &parser{file: "x"}
			got := Default()
			tokens, ok := p.tokens([]byte(text.String()))
			if !ok {
				t.Fatalf("%s: %v", text.String(), p.errs)
			}
			if root, ok := p.tree(tokens); ok {
				p.section(got, "", at{node: root})
			}
			if len(p.errs) > 0 || k.text(got) != value {
				t.Errorf("%s: got %q and errors %v, want %q", k.path, k.text(got), p.errs, value)
			}
		}
	}
}

func TestDiff(t *testing.T) {
	a := mustParse(t, "server: {listen: ':1'}\nlimits: {body: 1MiB}\nscripts: {permissions: {a.js: {read: [/a]}}}")
	b := mustParse(t, "log: {level: warn}\nlimits: {body: 1048576}\nscripts: {permissions: {a.js: {read: [/b]}}}")
	keys := a.Diff(b)
	if want := []string{"log.level", "scripts.permissions", "server.listen"}; !slices.Equal(keys, want) {
		t.Errorf("got difference %v, want %v", keys, want)
	}
	if got, want := NeedsRestart(keys), []string{"server.listen"}; !slices.Equal(got, want) {
		t.Errorf("got %v for the next start, want %v", got, want)
	}
	if got := a.Diff(a); len(got) != 0 {
		t.Errorf("got difference %v of a configuration to itself, want none", got)
	}
}

// What the product promises to change without a restart.
func TestLiveKeys(t *testing.T) {
	live := []string{"limits.body", "limits.streams", "limits.streams_per_address", "limits.selection_items",
		"limits.streams_per_credential", "limits.polls", "limits.connections_per_second", "stream.slow", "server.drain",
		"server.cors.origins", "journal.max_age", "journal.max_bytes", "scripts.permissions", "log.level"}
	for _, k := range live {
		if lookup(k) == nil {
			t.Errorf("%s is no key", k)
		}
	}
	if got := NeedsRestart(live); len(got) != 0 {
		t.Errorf("got %v for the next start, want none", got)
	}
	restart := []string{"server.listen", "server.tls.cert", "server.tls.key", "server.header_timeout", "stream.tape", "stream.send_buffer"}
	if got := NeedsRestart(restart); !slices.Equal(got, restart) {
		t.Errorf("got %v for the next start, want %v", got, restart)
	}
}

func TestGranted(t *testing.T) {
	s := fullConfig().Scripts
	for script, want := range map[string][]string{
		"lights/a.js":   {"/proc/loadavg", "/proc/uptime"},
		"lights/b/a.js": nil,
		"hall.ts":       {"/etc/hostname", "/proc/uptime"},
		"other.js":      nil,
	} {
		if got := s.Granted(script); !slices.Equal(got, want) {
			t.Errorf("%s: got %v, want %v", script, got, want)
		}
	}
	s = Scripts{Permissions: map[string]Permission{"*.js": {[]string{"/b", "/a"}}, "x.js": {[]string{"/c", "/a"}}}}
	if got, want := s.Granted("x.js"), []string{"/a", "/b", "/c"}; !slices.Equal(got, want) {
		t.Errorf("two entries: got %v, want %v", got, want)
	}
}

func TestFormats(t *testing.T) {
	for d, want := range map[time.Duration]string{
		0: "0", time.Second: "1s", time.Minute: "1m", 90 * time.Second: "1m30s", time.Hour: "1h", 90 * time.Minute: "1h30m",
		time.Hour + time.Second: "1h0m1s", 30 * day: "30d", 36 * time.Hour: "1d12h", 2500 * time.Millisecond: "2.5s", 10 * time.Minute: "10m",
	} {
		if got := formatDuration(d); got != want {
			t.Errorf("formatDuration(%d): got %s, want %s", d, got, want)
		}
		if got, f := parseDuration(want); f != nil || got != d {
			t.Errorf("parseDuration(%s): got %s and %v, want %s", want, got, f, d)
		}
	}
	for n, want := range map[int64]string{0: "0", 1: "1", 1000: "1000", 1024: "1KiB", 1536: "1536", 8 << 20: "8MiB", 4 << 30: "4GiB", 1 << 50: "1024TiB"} {
		if got := formatSize(n); got != want {
			t.Errorf("formatSize(%d): got %s, want %s", n, got, want)
		}
	}
}

// Nothing that fits in a file takes long, or much memory.
func TestBoundedTimeAndMemory(t *testing.T) {
	const n = maxFile
	fill := func(unit string) string { return strings.Repeat(unit, n/len(unit)) }
	var nested strings.Builder
	for i := range 1400 {
		nested.WriteString(strings.Repeat(" ", i) + "a:\n")
	}
	laughs := "a: &a [x,x,x,x,x,x,x,x]\n"
	for c := 'b'; c < 'z'; c++ {
		laughs += strings.ReplaceAll("C: &C [*P,*P,*P,*P,*P,*P,*P,*P]\n", "C", string(c))
		laughs = strings.ReplaceAll(laughs, "P", string(c-1))
	}
	texts := map[string]string{"nested groups": nested.String(), "billion laughs": laughs, "many keys": "log:\n" + fill("  k: v\n")[:n-8]}
	for _, unit := range []string{"[", "{a: ", "- ", "? ", "a: ", "a: b\n", " ", "\t", "\n", "#\n", "# ", "x", "-", ":", ",", "!a ", "&a ", "*a ",
		"---\n", "%a\n", "\"", "'", "|\n", ">\n ", "é", "[]", "[a,", "- a\n", "{}", "a:\n", "\\", "\"\\n", "x ", "x\n ", "<<: "} {
		texts[unit] = fill(unit)
		for _, before := range []string{"a: ", "a: \"", "a: ["} {
			texts[before+unit] = before + fill(unit)[:n/8]
		}
	}
	for name, text := range texts {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		start := time.Now()
		_, _ = Parse("c.yaml", []byte(text))
		took := time.Since(start)
		runtime.ReadMemStats(&after)
		// Ordinary files take a millisecond; these bounds only tell linear from quadratic.
		if took > 10*time.Second {
			t.Errorf("%q: took %s", name, took)
		}
		mem := after.TotalAlloc - before.TotalAlloc
		if mem > 256<<20 {
			t.Errorf("%q: allocated %d MiB", name, mem>>20)
		}
		if took > 200*time.Millisecond || mem > 64<<20 {
			t.Logf("%q: took %s and %d MiB", name, took, mem>>20)
		}
	}
}
