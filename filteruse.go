package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"carillon/httpd"
	"carillon/httpd/broadcast"
	"carillon/scripts/filter/worker"
)

// An origin is what a live filter was made of.
type origin struct {
	name    string
	change  int
	version *filterVersion
	params  map[string]any
	removed bool
}

// take returns the present version of a named filter with parameters.
func (n *namedFilters) take(ctx context.Context, name string, params map[string]any) (*liveFilter, error) {
	from, err := n.find(name, params)
	if err != nil {
		return nil, err
	}
	return n.all.makeVersion(ctx, from)
}

// find returns what a filter of the name and the parameters is made of.
func (n *namedFilters) find(name string, params map[string]any) (*origin, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	named := n.byName[name]
	if named == nil || named.current == nil {
		return nil, &httpd.FilterError{Message: n.missing(name)}
	}
	return &origin{name: name, change: named.change, version: named.current, params: params}, nil
}

// missing says why there is no filter of a name, and which there are. It is
// called with mu held.
func (n *namedFilters) missing(name string) string {
	if named := n.byName[name]; named != nil && named.failure != nil {
		return fmt.Sprintf("@%s is broken, and there was no version before: %s: %s", name, named.failure.place(), named.failure.message)
	}
	var there []string
	for _, named := range n.byName {
		if named.current != nil {
			there = append(there, "@"+named.name)
		}
	}
	slices.Sort(there)
	if len(there) == 0 {
		return fmt.Sprintf("there is no filter @%.100s, nor any other: each is a file in home/filters, such as above.js", name)
	}
	const most = 50
	if len(there) > most {
		there = append(there[:most], "…")
	}
	return fmt.Sprintf("there is no filter @%.100s; there are %s", name, strings.Join(there, ", "))
}

// next is httpd's NextFilter. A filter whose file is gone, or whose new version
// can't be had with the stream's parameters, is followed by itself: it is then
// up to date.
func (n *namedFilters) next(ctx context.Context, of broadcast.Filter) (broadcast.Filter, string, error) {
	old := of.(*liveFilter)
	if old.origin == nil {
		return nil, "", nil
	}
	n.mu.Lock()
	named := n.byName[old.origin.name]
	from := origin{name: named.name, change: named.change, version: named.current, params: old.origin.params}
	n.mu.Unlock()
	if from.change == old.origin.change {
		return nil, "", nil
	}
	had := versionText(from.name, old.origin.version)
	if from.version == nil {
		from.version, from.removed = old.origin.version, true
		return n.all.succeed(old, &from), fmt.Sprintf("filter @%s is removed; this stream keeps %s", from.name, had), nil
	}
	now := versionText(from.name, from.version)
	made, err := n.all.makeVersion(ctx, &from)
	var wrong *httpd.FilterError
	if errors.As(err, &wrong) || errors.Is(err, worker.ErrQuarantined) {
		from.version = old.origin.version
		return n.all.succeed(old, &from), fmt.Sprintf("filter %s can't be used by this stream (%v); it keeps %s", now, err, had), nil
	}
	if err != nil {
		return nil, "", err
	}
	return made, "filter " + now, nil
}

// key tells filters apart: those given by streams by what they do, named ones
// also by their name, version and parameters.
func (o *origin) key(what string) string {
	if o == nil {
		return what
	}
	params, err := json.Marshal(o.params) // sorted
	if err != nil {
		params = nil // strings, numbers and booleans: does not happen
	}
	return fmt.Sprintf("@%s %d %s", o.name, o.change, params)
}

// text names a filter for people: what a stream gave stands for itself.
func (o *origin) text(what string) string {
	if o == nil {
		return what
	}
	text := versionText(o.name, o.version)
	if len(o.params) > 0 {
		params, err := json.Marshal(o.params)
		if err == nil {
			text += " " + string(params)
		}
	}
	if o.removed {
		text += " (removed)"
	}
	return text
}
