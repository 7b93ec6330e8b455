package config

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write docs/configuration.md anew")

const documentHead = `# Configuration

` + "`carillon.yaml`" + ` in the home folder. An empty or missing file is the default of every key.
A new home gets a file with every key commented out.

- **Saving it puts it into effect**, as a whole. Keys marked *restart* wait for the next start; open streams stay open.
- **It is checked first.** Any mistake, an unknown key included, rejects the whole file, and what was in force stays in
  force. Each mistake is named in the log and in the event ` + "`config_rejected`" + `, with its line and what to write instead:
  ` + "`carillon.yaml:12: stream.beat: \"15 bananas\" is no duration; write for example 15s`" + `.
- **Durations** are written ` + "`500ms`, `15s`, `1h30m`, `30d`, `2w`; **sizes** `65536`, `64KiB`, `8MiB`, `4GiB` (of 1024) or `64KB`, `1.5GB` (of 1000)" + `.
- **Text** with ` + "`: # [ ] { } & * !`" + ` in it wants quotes. Anchors, tags and text over several lines are not used. The file may
  have 1 MiB, and a value 1024 bytes.
- **Files** are relative to the home folder.

Tokens are not in this file: see ` + "`CARILLON_TOKEN` and `home/data/token`" + `.
`

const documentTail = `
## What scripts may do

` + "```yaml\nscripts:\n  permissions:\n    host.js:\n      read: [/proc/loadavg, \"/sys/class/thermal/*/temp\"]\n    \"lights/*.js\":\n      read: [/etc/hostname]\n```" + `

The names are paths in the scripts folder. A script has what all entries that match it grant together. ` + "In names and in paths `*`" + `
stands for any characters but ` + "`/`, `?` for one of them, and `[a-z]`" + ` for one of a range.

## How adapters are run

` + "```yaml\nplugins:\n  hostsensors:\n    config: {interval: 5s, include: [cpu, memory]}\n  zigbee:\n    path: /opt/zigbee/adapter\n    args: [--port, /dev/ttyUSB0]\n    memory: 128MiB\n    user: zigbee\n```" + `

| Key | What it does |
|---|---|
| ` + "`config`" + ` | What the adapter is configured with: its own keys, which its documentation tells. Text over several lines is fine here. |
| ` + "`path`" + ` | The executable, relative to the home folder. Without it, the file in ` + "`home/plugins`" + ` of the adapter's name. |
| ` + "`args`" + ` | Its arguments. |
| ` + "`sha256`" + ` | What the executable must hash to; another one is not started. |
| ` + "`memory`" + ` | Most memory for its data, on Linux. Less than 64 MiB doesn't start a program in Go. |
| ` + "`user`" + ` | The system's user that it runs as, with the groups that the user is in (` + "`dialout`" + ` for a serial port), on Unix; the server must be root for it. The user must be able to reach what is executed, a copy in ` + "`home/data/plugins`: `chmod o+x home/data`" + `. Its own folder is given to the user, and not what another user has left in it. |
| ` + "`env`" + ` | Variables of its environment, which is nearly empty without: NAME passes the server's own on, NAME=value sets one. |
| ` + "`events`" + ` | Whether it may hear what happens in the home: all states and events. By default it may unless it has a ` + "`user`" + ` of its own. |
| ` + "`disabled`" + ` | true: it is not run. |

A change takes effect adapter by adapter: the new one takes over from the one that runs. What an adapter says is wrong with its
` + "`config` is in `carillon plugins`, by field, and what ran goes on" + `.
`

// document returns docs/configuration.md, made from the schema.
func document() []byte {
	var b strings.Builder
	b.WriteString(documentHead)
	section := ""
	for _, k := range schema {
		if s, _, _ := strings.Cut(k.path, "."); s != section {
			section = s
			fmt.Fprintf(&b, "\n## `%s`\n\n| Key | Default | What it does |\n|---|---|---|\n", s)
		}
		doc := k.doc
		if k.restart {
			doc += " *restart*"
		}
		text := "`" + k.text(Default()) + "`"
		if text == "`\"\"`" {
			text = "none"
		}
		fmt.Fprintf(&b, "| `%s` | %s | %s<br>%s |\n", k.path, text, strings.ReplaceAll(doc, "*\"]", "\\*\"]"), upperFirst(k.kind))
	}
	b.WriteString(documentTail)
	return []byte(b.String())
}

func upperFirst(s string) string { return strings.ToUpper(s[:1]) + s[1:] + "." }

// The document is made from the schema: go test ./internal/config -update writes it.
func TestDocument(t *testing.T) {
	const name = "../../docs/configuration.md"
	want := document()
	if *update {
		if err := os.MkdirAll("../../docs", 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, want, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	if got = bytes.ReplaceAll(got, []byte("\r\n"), []byte("\n")); !bytes.Equal(got, want) {
		t.Errorf("%s is not what the schema says; run go test ./internal/config -update", name)
	}
	for _, k := range schema {
		if !bytes.Contains(got, []byte("`"+k.path+"`")) {
			t.Errorf("%s is not in %s", k.path, name)
		}
	}
}
