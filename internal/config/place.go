package config

import (
	"strconv"

	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/token"
)

// Line returns the line, from 1, at which a value stands in the text of a configuration
// file. Path names it from the top, by keys and by numbers from 0. Where there is no such
// value, the line is that of what is nearest above it; 0 if there is nothing.
func Line(text []byte, path []string) int {
	p := &parser{}
	tokens, ok := p.tokens(text)
	if !ok {
		return 0
	}
	node, ok := p.tree(tokens)
	if !ok {
		return 0
	}
	line := 0
	for _, step := range path {
		child, pos := childOf(node, step)
		if pos == nil {
			break
		}
		node, line = child, pos.Line
	}
	return line
}

// childOf returns what a mapping or a list has at a step, and where; nil if there is nothing.
func childOf(node ast.Node, step string) (ast.Node, *token.Position) {
	switch n := node.(type) {
	case ast.MapNode:
		for it := n.MapRange(); it.Next(); {
			if t := it.Key().GetToken(); t.Value == step {
				return it.Value(), t.Position
			}
		}
	case *ast.SequenceNode:
		if i, err := strconv.Atoi(step); err == nil && i >= 0 && i < len(n.Values) {
			return n.Values[i], firstOf(n.Values[i])
		}
	}
	return nil, nil
}

// firstOf returns where a node begins: a mapping's own token is a colon.
func firstOf(node ast.Node) *token.Position {
	if m, ok := node.(ast.MapNode); ok {
		if it := m.MapRange(); it.Next() {
			return it.Key().GetToken().Position
		}
	}
	return node.GetToken().Position
}
