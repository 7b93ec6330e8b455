package config

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/goccy/go-yaml/ast"
)

// scalar reads the value in n as a kind.
func scalar[T any](p *parser, v at, n ast.Node, k kind[T], example string) (T, bool) {
	var zero T
	s, ok := n.(ast.ScalarNode)
	if !ok || isNull(n) {
		f := fault{"is " + describe(n) + " instead of " + k.name, "write for example " + example}
		if isNull(n) {
			f.msg = "has an item without a value"
		}
		p.fail(v.pos, v.path, f)
		return zero, false
	}
	t := s.GetToken()
	if _, block := n.(*ast.LiteralNode); block || strings.Contains(strings.Trim(t.Origin, " \n"), "\n") {
		p.fail(v.pos, v.path, fault{"goes over several lines", "write it on one line, for example " + example})
		return zero, false
	}
	value, f := zero, &fault{quote(t.Value) + " is longer than " + strconv.Itoa(maxText) + " bytes", "make it shorter"}
	if len(t.Value) <= maxText {
		value, f = k.parse(t.Value)
	}
	if f == nil {
		return value, true
	}
	if f.hint == "" {
		f.hint = "write for example " + example
	}
	p.fail(t.Position, v.path, *f)
	return zero, false
}

// one is the value of a key that holds a single scalar.
func one[T any](k kind[T], field func(*Config) *T) value {
	return value{
		kind: k.name,
		set: func(p *parser, c *Config, v at) {
			if x, ok := scalar(p, v, v.node, k, v.example); ok {
				*field(c) = x
			}
		},
		text: func(c *Config) string { return k.format(*field(c)) },
	}
}

// list is the value of a key that holds up to most scalars.
func list[T any](k kind[T], most int, field func(*Config) *[]T) value {
	return value{
		kind: fmt.Sprintf("a list of up to %d: %s", most, k.name),
		set: func(p *parser, c *Config, v at) {
			*field(c) = items(p, v, k, most, v.example)
		},
		text: func(c *Config) string { return flow(k, *field(c)) },
	}
}

// items reads a list.
func items[T any](p *parser, v at, k kind[T], most int, example string) []T {
	s, ok := v.node.(*ast.SequenceNode)
	if !ok {
		p.fail(v.pos, v.path, fault{"is " + describe(v.node) + " instead of a list", "write for example " + example})
		return nil
	}
	if len(s.Values) > most {
		p.fail(v.pos, v.path, fault{fmt.Sprintf("has %d items: up to %d are allowed", len(s.Values), most), "remove some"})
		return nil
	}
	var all []T
	for _, n := range s.Values {
		v := v
		if t := n.GetToken(); t != nil && t.Position != nil {
			v.pos = t.Position
		}
		if x, ok := scalar(p, v, n, k, example); ok {
			all = append(all, x)
		}
	}
	return all
}

// flow writes a list on one line.
func flow[T any](k kind[T], all []T) string {
	parts := make([]string, len(all))
	for i, x := range all {
		parts[i] = k.format(x)
	}
	return "[" + strings.Join(parts, ", ") + "]"
}

const (
	maxPermissions = 1000 // entries of scripts.permissions
	maxReadable    = 256  // paths in one of them
)

// permissions is the value of scripts.permissions.
var permissions = value{
	kind: fmt.Sprintf("up to %d scripts, each with read: a list of up to %d absolute paths", maxPermissions, maxReadable),
	set: func(p *parser, c *Config, v at) {
		const example = "{read: [/proc/loadavg]}"
		entries := p.entries(v, "write for example host.js: "+example)
		if len(entries) > maxPermissions {
			p.fail(v.pos, v.path, fault{fmt.Sprintf("has %d entries: up to %d are allowed", len(entries), maxPermissions), "use patterns, for example \"lights/*.js\""})
			return
		}
		c.Scripts.Permissions = make(map[string]Permission, len(entries))
		for _, e := range entries {
			name := e.path
			e.path = shorten(v.path + "." + name)
			if _, f := scriptPattern.parse(name); f != nil {
				p.fail(e.pos, v.path, *f)
				continue
			}
			c.Scripts.Permissions[name] = p.permission(e, example)
		}
	},
	text:  formatPermissions,
	group: true,
}

func (p *parser) permission(v at, example string) (perm Permission) {
	for _, e := range p.entries(v, "write for example "+example) {
		if e.path != "read" {
			hint := "known here: read"
			if nearest(e.path, []string{"read"}) != "" {
				hint = "did you mean read?"
			}
			p.fail(e.pos, shorten(v.path+"."+e.path), fault{"unknown key", hint})
			continue
		}
		e.path = v.path + ".read"
		perm.Read = items(p, e, readable, maxReadable, "[/proc/loadavg]")
	}
	return perm
}
