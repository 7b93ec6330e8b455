package filter

import (
	"cmp"
	"hash/maphash"
	"slices"
)

// indexFrom is how many fields an object must have to be looked up by hash: a
// walk over fewer is as fast.
const indexFrom = 9

// keySeed makes what keys collide differ from process to process.
var keySeed = maphash.MakeSeed()

// A keyIndex is a hash table of places in a node's fields, counted from 1; 0 is
// free. Its length is a power of two, at least half of it free.
type keyIndex []int32

// indexSize returns the length of the index of n fields, 0 for none.
func indexSize(n int) int {
	if n < indexFrom {
		return 0
	}
	size := 32
	for size < 2*n {
		size *= 2
	}
	return size
}

// slot returns where key is, or the free slot where it would be.
func (x keyIndex) slot(fields []field, key string) int {
	mask := len(x) - 1
	i := int(maphash.String(keySeed, key)) & mask
	for x[i] != 0 && fields[x[i]-1].key != key {
		i = (i + 1) & mask
	}
	return i
}

// fill indexes fields, whose keys are distinct. x must be all free.
func (x keyIndex) fill(fields []field) {
	for i := range fields {
		x[x.slot(fields, fields[i].key)] = int32(i + 1)
	}
}

// newObject returns the object of these fields, whose keys are distinct.
func newObject(fields []field) *node {
	sortIndices(fields)
	n := &node{fields: fields}
	if size := indexSize(len(fields)); size > 0 {
		n.index = make(keyIndex, size)
		n.index.fill(fields)
	}
	return n
}

// find returns the place of the field of that name, or -1.
func (n *node) find(name string) int {
	if n.index != nil {
		return int(n.index[n.index.slot(n.fields, name)]) - 1
	}
	for i := range n.fields {
		if n.fields[i].key == name {
			return i
		}
	}
	return -1
}

func (n *node) get(name string) value {
	if n.index == nil {
		for i := range n.fields {
			if f := &n.fields[i]; f.key == name {
				return f.value
			}
		}
		return value{}
	}
	if i := n.find(name); i >= 0 {
		return n.fields[i].value
	}
	return value{}
}

// sortIndices puts fields into the order of Object.keys: array indices first,
// by number, then the others as they came. It reports whether anything moved.
func sortIndices(fields []field) bool {
	indices := 0
	for i := range fields {
		if _, ok := arrayIndex(fields[i].key); ok {
			indices++
		}
	}
	if indices == 0 {
		return false
	}
	slices.SortStableFunc(fields, func(a, b field) int {
		x, xok := arrayIndex(a.key)
		y, yok := arrayIndex(b.key)
		switch {
		case xok && yok:
			return cmp.Compare(x, y)
		case xok:
			return -1
		case yok:
			return 1
		}
		return 0
	})
	return true
}
