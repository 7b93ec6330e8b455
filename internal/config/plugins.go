package config

import (
	"encoding/json"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/goccy/go-yaml/ast"
)

// Plugin is how one adapter is run. Its zero value is right for an executable of the
// folder plugins that needs no configuration.
type Plugin struct {
	Path     string          `json:"path,omitempty"`     // the executable; empty: the file of the adapter's name in the folder plugins
	Args     []string        `json:"args,omitempty"`     // of the executable
	Config   json.RawMessage `json:"config,omitempty"`   // what the adapter is configured with, an object; nil: nothing
	SHA256   string          `json:"sha256,omitempty"`   // of the executable, in hexadecimal; empty: any
	User     string          `json:"user,omitempty"`     // of the system, that it runs as; empty: the server's
	Memory   int64           `json:"memory,omitempty"`   // bytes; 0: no bound
	Disabled bool            `json:"disabled,omitempty"` // it is not to run
	Events   *bool           `json:"events,omitempty"`   // it may hear what happens in the home; nil: if it runs as the server does
	Env      []string        `json:"env,omitempty"`      // NAME or NAME=value
}

const (
	maxPlugins     = 1000 // adapters
	maxPluginArgs  = 256  // arguments, and variables, of one of them
	maxConfigDepth = 32   // groups and lists within each other
)

// pluginKeys are the keys of one adapter.
var pluginKeys = []string{"path", "args", "config", "sha256", "memory", "user", "env", "events", "disabled"}

// plugins is the value of plugins.
var plugins = value{
	kind: fmt.Sprintf("up to %d adapters by name, each with %s", maxPlugins, strings.Join(pluginKeys, ", ")),
	set: func(p *parser, c *Config, v at) {
		entries := p.entries(v, "write for example hostsensors: {config: {interval: 5s}}")
		if len(entries) > maxPlugins {
			p.fail(v.pos, v.path, fault{fmt.Sprintf("has %d entries: up to %d are allowed", len(entries), maxPlugins), "remove some"})
			return
		}
		for _, e := range entries {
			name := e.path
			e.path = shorten(v.path + "." + name)
			if !pluginName.MatchString(name) {
				p.fail(e.pos, v.path, fault{quote(name) + " is no name of an adapter",
					"write 1 to 64 lower-case letters, digits, - and _, for example hostsensors"})
				continue
			}
			if c.Plugins == nil {
				c.Plugins = map[string]Plugin{}
			}
			c.Plugins[name] = p.plugin(e)
		}
	},
	text:  formatPlugins,
	group: true,
}

var (
	pluginName = regexp.MustCompile(`^[a-z0-9_-]{1,64}$`)
	hexSum     = regexp.MustCompile(`^[0-9a-f]{64}$`)
	envText    = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*(=.*)?$`)
)

// checksum is a SHA-256.
var checksum = kind[string]{"64 hexadecimal digits", func(s string) (string, *fault) {
	if s = strings.ToLower(s); !hexSum.MatchString(s) {
		return "", &fault{quote(s) + " is no SHA-256: it has 64 hexadecimal digits", "write what sha256sum prints of the executable"}
	}
	return s, nil
}, yamlText}

// variable is a variable of an environment.
var variable = kind[string]{"NAME or NAME=value", func(s string) (string, *fault) {
	if _, f := checkText(s); f != nil {
		return "", f
	}
	if !envText.MatchString(s) {
		return "", &fault{msg: quote(s) + " is neither NAME nor NAME=value"}
	}
	return s, nil
}, yamlText}

// plugin reads one adapter.
func (p *parser) plugin(v at) (a Plugin) {
	for _, e := range p.entries(v, "write its keys below it, indented: "+strings.Join(pluginKeys, ", ")) {
		key := e.path
		e.path = v.path + "." + shorten(key)
		if isNull(e.node) && slices.Contains(pluginKeys, key) {
			if key != "config" {
				p.fail(e.pos, e.path, fault{"has no value", "write one, or remove the line"})
			}
			continue
		}
		switch key {
		case "path":
			setScalar(p, e, filePath, "/opt/adapters/zigbee", &a.Path)
		case "args":
			a.Args = items(p, e, words, maxPluginArgs, "[--verbose]")
		case "config":
			a.Config = p.object(e)
		case "sha256":
			setScalar(p, e, checksum, strings.Repeat("0", 64), &a.SHA256)
		case "memory":
			setScalar(p, e, sizes(16*mib, 1024*gib), "256MiB", &a.Memory)
		case "user":
			setScalar(p, e, words, "nobody", &a.User)
		case "env":
			a.Env = items(p, e, variable, maxPluginArgs, "[HOST_SYS=/host/sys]")
		case "events":
			setScalar(p, e, choices([]string{"true", "false"}, []*bool{new(true), new(false)}), "true", &a.Events)
		case "disabled":
			setScalar(p, e, choices([]string{"true", "false"}, []bool{true, false}), "true", &a.Disabled)
		default:
			hint := "known here: " + strings.Join(pluginKeys, ", ")
			if near := nearest(key, pluginKeys); near != "" {
				hint = "did you mean " + near + "?"
			}
			p.fail(e.pos, e.path, fault{"unknown key", hint})
		}
	}
	return a
}

func setScalar[T any](p *parser, v at, k kind[T], example string, field *T) {
	if x, ok := scalar(p, v, v.node, k, example); ok {
		*field = x
	}
}

// object reads what an adapter is configured with, as JSON. Only the adapter knows
// what may be in it.
func (p *parser) object(v at) json.RawMessage {
	if _, ok := v.node.(ast.MapNode); !ok {
		p.fail(v.pos, v.path, fault{"is " + describe(v.node) + " instead of a group of keys", "write the adapter's own keys below it, indented"})
		return nil
	}
	before := len(p.errs)
	x := p.plain(v, v.node, 0)
	if len(p.errs) > before {
		return nil
	}
	text, err := json.Marshal(x)
	if err != nil {
		p.fail(v.pos, v.path, fault{"can't be given to an adapter: " + err.Error(), "write it in another way"})
		return nil
	}
	return text
}

// plain returns the value of a node as encoding/json takes it.
func (p *parser) plain(v at, node ast.Node, depth int) any {
	if depth > maxConfigDepth {
		p.fail(v.pos, v.path, fault{fmt.Sprintf("has more than %d groups and lists within each other", maxConfigDepth), "make it flatter"})
		return nil
	}
	switch n := node.(type) {
	case ast.MapNode:
		object := map[string]any{}
		for _, e := range p.entries(at{path: v.path, pos: v.pos, node: node}, "") {
			name := e.path
			e.path = shorten(v.path + "." + name)
			object[name] = p.plain(e, e.node, depth+1)
		}
		return object
	case *ast.SequenceNode:
		list := make([]any, len(n.Values))
		for i, item := range n.Values {
			list[i] = p.plain(at{path: v.path, pos: item.GetToken().Position}, item, depth+1)
		}
		return list
	case *ast.InfinityNode, *ast.NanNode:
		p.fail(node.GetToken().Position, v.path, fault{"is no number that JSON has", "put it in quotes if it is text"})
		return nil
	case *ast.LiteralNode:
		return n.Value.Value
	case ast.ScalarNode:
		return n.GetValue()
	}
	return nil
}

// formatPlugins writes all adapters on one line: JSON is YAML.
func formatPlugins(c *Config) string {
	var parts []string
	for _, name := range slices.Sorted(maps.Keys(c.Plugins)) {
		text, err := json.Marshal(c.Plugins[name])
		if err != nil {
			text = []byte(err.Error()) // never: object made its JSON
		}
		parts = append(parts, strconv.Quote(name)+": "+string(text))
	}
	return "{" + strings.Join(parts, ", ") + "}"
}
