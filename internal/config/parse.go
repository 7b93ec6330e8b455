package config

import (
	"fmt"
	"slices"
	"strings"

	"github.com/goccy/go-yaml/ast"
	yaml "github.com/goccy/go-yaml/parser"
	"github.com/goccy/go-yaml/token"
)

// Parse reads the text of a configuration file; file is its name in messages. It
// returns the whole configuration, or Errors with every mistake that was found
// (the first 20). An empty text is Default().
func Parse(file string, text []byte) (*Config, error) {
	p := &parser{file: file}
	c := Default()
	if tokens, ok := p.tokens(text); ok {
		if root, ok := p.tree(tokens); ok {
			p.section(c, "", at{node: root})
			p.together(c)
		}
	}
	if err := p.errs.sorted(); err != nil {
		return nil, err
	}
	return c, nil
}

// A parser is one call of Parse.
type parser struct {
	file  string
	errs  Errors
	lines map[string]*token.Position // where each key stands
}

// at is a place in the file: a key with its value.
type at struct {
	path string
	pos  *token.Position // of the key; nil for the file itself
	node ast.Node
	// example is a right value of the key, for hints.
	example string
}

func (p *parser) fail(pos *token.Position, key string, f fault) {
	e := &Error{File: p.file, Key: key, Msg: f.msg, Hint: f.hint}
	if pos != nil {
		e.Line, e.Column = pos.Line, pos.Column
	}
	p.errs = append(p.errs, e)
}

// tree makes the YAML tree of the tokens. The library's own mistakes must not take
// the server down with a file that is being edited.
func (p *parser) tree(tokens token.Tokens) (root ast.Node, ok bool) {
	defer func() {
		if r := recover(); r != nil {
			p.fail(nil, "", fault{"the YAML reader gave up on this file: " + quote(fmt.Sprint(r)), "undo the last edit, or simplify it"})
			root, ok = nil, false
		}
	}()
	f, err := yaml.Parse(tokens, 0, yaml.AllowDuplicateMapKey())
	if err != nil {
		p.failSyntax(err)
		return nil, false
	}
	for _, doc := range f.Docs {
		if doc.Body == nil {
			continue
		}
		if root != nil {
			p.fail(doc.Body.GetToken().Position, "", fault{"a second document begins here", "remove the line ---"})
			return nil, false
		}
		root = doc.Body
	}
	return root, true
}

// section reads the keys under a dotted path. Nothing under it is as good as
// the section left out: so it looks with all its keys commented out.
func (p *parser) section(c *Config, section string, v at) {
	for _, e := range p.entries(v, sectionHint(section)) {
		name, path := e.path, join(section, e.path)
		e.path = path
		switch k := lookup(path); {
		case strings.Contains(name, "."): // no way into a group
			p.fail(e.pos, shorten(path), fault{"unknown key", unknownHint(section, name)})
		case k != nil:
			p.set(c, k, e)
		case len(children(path)) > 0:
			p.section(c, path, e)
		default:
			p.fail(e.pos, shorten(path), fault{"unknown key", unknownHint(section, name)})
		}
	}
}

func sectionHint(section string) string {
	return "write its keys below it, indented: " + strings.Join(children(section), ", ")
}

// set reads one key's value.
func (p *parser) set(c *Config, k *key, v at) {
	if p.lines == nil {
		p.lines = map[string]*token.Position{}
	}
	p.lines[k.path] = v.pos
	v.example = k.hintValue()
	if isNull(v.node) && !k.group {
		p.fail(v.pos, k.path, fault{"has no value", "write for example " + v.example + ", or remove the line"})
		return
	}
	k.set(p, c, v)
}

// entries returns what is in a mapping, without repeated keys, each with its
// bare name as path; nil after a mistake or for null.
func (p *parser) entries(v at, hint string) []at {
	if isNull(v.node) {
		return nil
	}
	m, ok := v.node.(ast.MapNode)
	if !ok {
		if _, ok := v.node.(ast.ScalarNode); ok || v.pos == nil {
			v.pos = v.node.GetToken().Position
		}
		p.fail(v.pos, v.path, fault{"is " + describe(v.node) + " instead of a group of keys", hint})
		return nil
	}
	var all []at
	seen := map[string]*token.Position{}
	for it := m.MapRange(); it.Next(); {
		t := it.Key().GetToken()
		if before := seen[t.Value]; before != nil {
			p.fail(t.Position, shorten(join(v.path, t.Value)),
				fault{fmt.Sprintf("is already set in line %d", before.Line), "remove one of the two"})
			continue
		}
		seen[t.Value] = t.Position
		all = append(all, at{path: t.Value, pos: t.Position, node: it.Value()})
	}
	return all
}

// unknownHint tells what was probably meant.
func unknownHint(section, name string) string {
	siblings := children(section)
	if i := strings.LastIndex(name, "."); i > 0 && slices.Contains(children(join(section, name[:i])), name[i+1:]) {
		return "write it in its group: " + name[:i] + ", then " + name[i+1:] + " below it, indented"
	}
	if near := nearest(name, siblings); near != "" {
		return "did you mean " + near + "?"
	}
	for _, k := range schema {
		if strings.HasSuffix(k.path, "."+name) {
			return "it belongs under " + strings.TrimSuffix(k.path, "."+name)
		}
	}
	return "known here: " + strings.Join(siblings, ", ")
}

func isNull(n ast.Node) bool {
	if n == nil {
		return true
	}
	_, ok := n.(*ast.NullNode)
	return ok
}

// describe names what stands in a place.
func describe(n ast.Node) string {
	if isNull(n) {
		return "nothing"
	}
	switch n := n.(type) {
	case *ast.SequenceNode:
		return "a list"
	case ast.MapNode:
		return "a group of keys"
	case ast.ScalarNode:
		return quote(n.GetToken().Value)
	}
	return "something"
}

// shorten bounds a text that the user made up.
func shorten(s string) string {
	const most = 100
	if r := []rune(s); len(r) > most {
		return string(r[:most]) + "…"
	}
	return s
}
