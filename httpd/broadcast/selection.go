package broadcast

import (
	"fmt"
	"slices"
	"strings"
)

// A Selection says which events a stream asks for: those whose type is one of
// Types, and whose domain is one of Domains, and whose entity is one of
// Entities, and that Filter takes. An empty list asks for all, and so does no
// filter. A '*' inside a name matches any run of bytes, the empty one too;
// everything else matches itself.
type Selection struct {
	Types, Domains, Entities []string
	Filter                   Filter
}

// canonical returns the selection with each list sorted, without repetition,
// and empty if it asks for everything. It shares no memory with s.
func (s Selection) canonical() Selection {
	return Selection{canonicalNames(s.Types), canonicalNames(s.Domains), canonicalNames(s.Entities), s.Filter}
}

func canonicalNames(names []string) []string {
	if len(names) == 0 {
		return nil
	}
	out := make([]string, 0, len(names))
	for _, name := range names {
		for strings.Contains(name, "**") {
			name = strings.ReplaceAll(name, "**", "*")
		}
		if name == "*" {
			return nil
		}
		out = append(out, strings.Clone(name))
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// all reports whether the canonical selection asks for every event.
func (s *Selection) all() bool { return s.Filter == nil && s.allNames() }

func (s *Selection) allNames() bool {
	return len(s.Types) == 0 && len(s.Domains) == 0 && len(s.Entities) == 0
}

// A feedKey is equal for equal canonical selections only.
type feedKey struct {
	names  string
	filter Filter
	asData bool // tells what the filter throws as data, too
}

func (s *Selection) key() feedKey {
	k := feedKey{filter: s.Filter}
	if !s.allNames() {
		k.names = fmt.Sprintf("%q %q %q", s.Types, s.Domains, s.Entities)
	}
	return k
}

func (s *Selection) matches(ev *Event) bool { return s.Matches(ev.Type, ev.Domain, ev.EntityID) }

// Matches reports whether the selection's lists take an event of this type that
// concerns this domain and entity, which may be empty. It does not ask Filter.
func (s *Selection) Matches(typ, domain, entityID string) bool {
	return matchAny(s.Entities, entityID) && matchAny(s.Domains, domain) && matchAny(s.Types, typ)
}

func matchAny(patterns []string, name string) bool {
	if len(patterns) == 0 {
		return true
	}
	for _, p := range patterns {
		if matchName(p, name) {
			return true
		}
	}
	return false
}

// matchName reports whether name matches pattern. It takes time in the product
// of both lengths at most: only the last star is ever tried again.
func matchName(pattern, name string) bool {
	star, mark := -1, 0
	p, n := 0, 0
	for n < len(name) {
		switch {
		case p < len(pattern) && pattern[p] == '*':
			star, mark = p, n
			p++
		case p < len(pattern) && pattern[p] == name[n]:
			p++
			n++
		case star >= 0:
			mark++
			p, n = star+1, mark
		default:
			return false
		}
	}
	for p < len(pattern) && pattern[p] == '*' {
		p++
	}
	return p == len(pattern)
}

// A nameKey is one exact name that an event can have.
type nameKey struct {
	kind byte // 'e' entity, 'p' part of the entity before its dot, 'd' domain, 't' type
	name string
}

// A feedIndex finds the feeds that an event could match. A feed stands under
// each name of its narrowest list that has only exact names, or else in scan.
// An event has one name of each kind, so it meets a feed once at most.
type feedIndex struct {
	byName map[nameKey][]*feed
	scan   []*feed
}

// keys returns the names under which a feed of this selection stands; none
// means that it must be scanned.
func (s *Selection) keys() []nameKey {
	if keys := exactKeys('e', s.Entities); keys != nil {
		return keys
	}
	if keys := exactKeys('d', s.Domains); keys != nil {
		return keys
	}
	if keys := prefixKeys(s.Entities); keys != nil {
		return keys
	}
	return exactKeys('t', s.Types)
}

func exactKeys(kind byte, names []string) []nameKey {
	var keys []nameKey
	for _, name := range names {
		if strings.Contains(name, "*") {
			return nil
		}
		keys = append(keys, nameKey{kind, name})
	}
	return keys
}

// prefixKeys serves patterns such as "light.*", whose part before the dot is exact.
func prefixKeys(patterns []string) []nameKey {
	var keys []nameKey
	for _, p := range patterns {
		part, _, dotted := strings.Cut(p, ".")
		if !dotted || strings.Contains(part, "*") {
			return nil
		}
		keys = append(keys, nameKey{'p', part})
	}
	slices.SortFunc(keys, func(a, b nameKey) int { return strings.Compare(a.name, b.name) })
	return slices.Compact(keys)
}

func (x *feedIndex) add(f *feed) {
	keys := f.sel.keys()
	if keys == nil {
		x.scan = append(x.scan, f)
		return
	}
	if x.byName == nil {
		x.byName = make(map[nameKey][]*feed)
	}
	for _, k := range keys {
		x.byName[k] = append(x.byName[k], f)
	}
}

func (x *feedIndex) remove(f *feed) {
	keys := f.sel.keys()
	if keys == nil {
		x.scan = without(x.scan, f)
		return
	}
	for _, k := range keys {
		if rest := without(x.byName[k], f); len(rest) > 0 {
			x.byName[k] = rest
		} else {
			delete(x.byName, k)
		}
	}
}

func without(feeds []*feed, f *feed) []*feed {
	if i := slices.Index(feeds, f); i >= 0 {
		feeds[i] = feeds[len(feeds)-1]
		feeds[len(feeds)-1] = nil
		feeds = feeds[:len(feeds)-1]
	}
	return feeds
}

// match appends the feeds that want ev to dst, each once.
func (x *feedIndex) match(dst []*feed, ev *Event) []*feed {
	if len(x.byName) > 0 {
		part, _, _ := strings.Cut(ev.EntityID, ".")
		dst = wanting(dst, x.byName[nameKey{'e', ev.EntityID}], ev)
		dst = wanting(dst, x.byName[nameKey{'p', part}], ev)
		dst = wanting(dst, x.byName[nameKey{'d', ev.Domain}], ev)
		dst = wanting(dst, x.byName[nameKey{'t', ev.Type}], ev)
	}
	return wanting(dst, x.scan, ev)
}

func wanting(dst, feeds []*feed, ev *Event) []*feed {
	for _, f := range feeds {
		if f.sel.matches(ev) {
			dst = append(dst, f)
		}
	}
	return dst
}
