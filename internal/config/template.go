package config

import (
	"fmt"
	"strings"
)

const templateHead = `# Carillon's configuration. Saving this file puts it into effect. It is checked
# first: a mistake is named in the log, and what was in force stays in force.
#
# Every key is here with its default. To change one, remove the "# " in front of
# it and of the group it is in. All about the keys: docs/configuration.md.
`

// starterPermissions is what the starter script of a new home reads: this
// machine's load, memory, uptime and temperatures.
const starterPermissions = `    host.js:
      read:
        - /proc/loadavg
        - /proc/meminfo
        - /proc/uptime
        - "/sys/class/thermal/*/temp"
        - "/sys/class/hwmon/*/temp*_input"
`

// Template returns the commented carillon.yaml of a new home. It is
// Default() with the permission of the starter script, host.js.
func Template() []byte {
	var b strings.Builder
	b.WriteString(templateHead)
	var open []string // the sections that the last key was in
	for _, k := range schema {
		parts := strings.Split(k.path, ".")
		sections, name := parts[:len(parts)-1], parts[len(parts)-1]
		for i, s := range sections {
			if i < len(open) && open[i] == s {
				continue
			}
			open = open[:min(i, len(open))]
			if i == 0 {
				fmt.Fprintf(&b, "\n%s:\n", s)
			} else {
				fmt.Fprintf(&b, "%s# %s:\n", strings.Repeat("  ", i), s)
			}
			open = append(open, s)
		}
		writeKey(&b, &k, name, len(sections))
		open = sections
	}
	return []byte(b.String())
}

// column is where the explanations begin, if the key before is short enough.
const column = 38

// writeKey writes one key with its explanation. One outside of all groups is a group
// of its own, with nothing in it. In a group that is itself
// commented out the indentation is behind the #, to be right without it.
func writeKey(b *strings.Builder, k *key, name string, depth int) {
	if k.path == "scripts.permissions" {
		fmt.Fprintf(b, "  # %s\n  %s:\n%s", k.brief, name, starterPermissions)
		return
	}
	if depth == 0 {
		fmt.Fprintf(b, "\n# %s\n%s:\n", k.brief, name)
		return
	}
	line := "  # " + strings.Repeat("  ", depth-1) + name + ": " + k.text(Default())
	fmt.Fprintf(b, "%-*s # %s\n", column, line, k.brief)
}
