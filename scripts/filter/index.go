package filter

import (
	"cmp"
	"slices"
)

// splitAt is how many entries a branch below the first holds before it looks
// for what tells them apart: to evaluate fewer is as quick.
const splitAt = 32

// A branch is a place of the index. The first holds all entries of a set;
// each way down from it, the entries have one more conjunct that is true of
// the event. Those that have none left to go by stay where they are.
type branch struct {
	entries []*Entry     // those that go no further
	paths   []*pathIndex // the others, once it is split
	split   bool
}

// A pathIndex holds entries by what they want a path of the event to be. Each
// has a conjunct that is true of no other value; what stands before that
// doesn't throw. So for a value, only those that it leads to can be true. The
// others are false, unless they throw: on a path that can't be read those do
// that don't make sure of it before, and on what is no string those that call
// its startsWith.
type pathIndex struct {
	path     string // canonical text
	read     func(*machine) value
	held     int // entries, each counted as often as it was added
	strings  map[string]*branch
	numbers  map[float64]*branch
	others   [4]*branch    // by plainPlace
	prefixes []prefixIndex // by length
	throwers []*Entry      // by anything but a prefix, and may throw
	callers  []*Entry      // by a prefix, and may throw
	above    []bound       // by limit
	below    []bound       // by limit
}

// A prefixIndex holds entries by prefixes of the same length in bytes.
type prefixIndex struct {
	length int
	by     map[string]*branch
}

// A bound is an entry that wants a number above or below a limit, or at it.
type bound struct {
	limit float64
	entry *Entry
}

// add puts e into b, which the first level of e's route led to.
func (b *branch) add(e *Entry, level int) {
	if !b.split && level > 0 && len(b.entries) < splitAt {
		b.entries = append(b.entries, e)
		return
	}
	if !b.split {
		b.split = true
		waiting := b.entries
		b.entries = nil
		for _, other := range waiting {
			b.add(other, level)
		}
	}
	if level == len(e.route) {
		b.entries = append(b.entries, e)
		return
	}
	c := e.route[level]
	b.pathOf(c.shape).add(e, c, level)
}

// remove takes e out again, and reports whether nothing is left in b.
func (b *branch) remove(e *Entry, level int) (empty bool) {
	if !b.split || level == len(e.route) {
		b.entries = without(b.entries, e)
	} else {
		c := e.route[level]
		x := b.pathOf(c.shape)
		if x.remove(e, c, level); x.held == 0 {
			b.paths = slices.DeleteFunc(b.paths, func(p *pathIndex) bool { return p == x })
		}
	}
	return len(b.entries) == 0 && len(b.paths) == 0
}

// pathOf returns the index of sh's path, made if there is none.
func (b *branch) pathOf(sh *shape) *pathIndex {
	for _, x := range b.paths {
		if x.path == sh.path {
			return x
		}
	}
	x := &pathIndex{path: sh.path, read: sh.read}
	b.paths = append(b.paths, x)
	return x
}

func (x *pathIndex) add(e *Entry, c *conjunct, level int) {
	x.held++
	if c.throws {
		list := x.mayThrow(c)
		*list = append(*list, e)
	}
	switch sh := c.shape; sh.kind {
	case byValue:
		for _, v := range sh.values {
			x.change(v, func(b *branch) *branch { return grown(b, e, level) })
		}
	case byPrefix:
		by := x.prefixesOf(len(sh.prefix)).by
		by[sh.prefix] = grown(by[sh.prefix], e, level)
	case byAbove:
		x.above = insertBound(x.above, bound{sh.limit, e})
	case byBelow:
		x.below = insertBound(x.below, bound{sh.limit, e})
	}
}

func (x *pathIndex) remove(e *Entry, c *conjunct, level int) {
	x.held--
	if c.throws {
		list := x.mayThrow(c)
		*list = without(*list, e)
	}
	switch sh := c.shape; sh.kind {
	case byValue:
		for _, v := range sh.values {
			x.change(v, func(b *branch) *branch { return shrunk(b, e, level) })
		}
	case byPrefix:
		by := x.prefixesOf(len(sh.prefix)).by
		put(by, sh.prefix, shrunk(by[sh.prefix], e, level))
		x.prefixes = slices.DeleteFunc(x.prefixes, func(p prefixIndex) bool { return len(p.by) == 0 })
	case byAbove:
		x.above = deleteBound(x.above, bound{sh.limit, e})
	case byBelow:
		x.below = deleteBound(x.below, bound{sh.limit, e})
	}
}

// mayThrow returns the list of those that may throw like c.
func (x *pathIndex) mayThrow(c *conjunct) *[]*Entry {
	if c.shape.kind == byPrefix {
		return &x.callers
	}
	return &x.throwers
}

func grown(b *branch, e *Entry, level int) *branch {
	if b == nil {
		b = &branch{}
	}
	b.add(e, level+1)
	return b
}

// shrunk is nil once nothing is left.
func shrunk(b *branch, e *Entry, level int) *branch {
	if b.remove(e, level+1) {
		return nil
	}
	return b
}

// change replaces what is under the value v.
func (x *pathIndex) change(v value, by func(*branch) *branch) {
	switch v.kind {
	case str:
		if x.strings == nil {
			x.strings = map[string]*branch{}
		}
		put(x.strings, v.text(), by(x.strings[v.text()]))
	case number:
		if x.numbers == nil {
			x.numbers = map[float64]*branch{}
		}
		put(x.numbers, v.num(), by(x.numbers[v.num()]))
	default:
		i := plainPlace(v)
		x.others[i] = by(x.others[i])
	}
}

// plainPlace numbers undefined, null, false and true.
func plainPlace(v value) int {
	if v.kind == boolean && v.truthy() {
		return 3
	}
	return int(v.kind)
}

func put[K comparable](m map[K]*branch, key K, b *branch) {
	if b == nil {
		delete(m, key)
		return
	}
	m[key] = b
}

// without removes e from entries, whose order counts for nothing.
func without(entries []*Entry, e *Entry) []*Entry {
	i := slices.Index(entries, e)
	if i < 0 {
		return entries
	}
	last := len(entries) - 1
	entries[i], entries[last] = entries[last], nil
	return entries[:last]
}

// prefixesOf returns the index of prefixes of that length, made if there is
// none.
func (x *pathIndex) prefixesOf(length int) *prefixIndex {
	i, found := slices.BinarySearchFunc(x.prefixes, length, func(p prefixIndex, n int) int { return cmp.Compare(p.length, n) })
	if !found {
		x.prefixes = slices.Insert(x.prefixes, i, prefixIndex{length, map[string]*branch{}})
	}
	return &x.prefixes[i]
}

func byLimit(b bound, limit float64) int { return cmp.Compare(b.limit, limit) }

func insertBound(bounds []bound, b bound) []bound {
	i, _ := slices.BinarySearchFunc(bounds, b.limit, byLimit)
	return slices.Insert(bounds, i, b)
}

func deleteBound(bounds []bound, b bound) []bound {
	i, _ := slices.BinarySearchFunc(bounds, b.limit, byLimit)
	for bounds[i] != b {
		i++
	}
	return slices.Delete(bounds, i, i+1)
}
