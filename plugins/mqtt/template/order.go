package template

import "slices"

func orderFilters() map[string]*builtin {
	return map[string]*builtin{
		"dictsort": define("value case_sensitive? by? reverse?", dictsort),
		"batch":    define("value linecount fill_with?", batch),
	}
}

// dictsort gives a dict's pairs by their keys, or by their values.
func dictsort(e *env, args []Value) Value {
	by := orElse(args[2], "key")
	at := map[Value]int{"key": 0, "value": 1}
	if text, ok := by.(string); !ok || text != "key" && text != "value" {
		e.failKept("dictsort sorts by key or by value")
	}
	d, ok := args[0].(*Dict)
	if !ok {
		e.typeError(args[0], "dictsort needs a dict")
	}
	pairs := e.pairs(d)
	reversed := truth(orElse(args[3], false))
	slices.SortStableFunc(pairs, func(a, b Value) int {
		e.step(1)
		if reversed {
			a, b = b, a
		}
		x, y := e.sortable(a.(Tuple)[at[by]], args[1]), e.sortable(b.(Tuple)[at[by]], args[1])
		switch {
		case e.less(x, y, false, 0):
			return -1
		case e.less(y, x, false, 0):
			return 1
		}
		return 0
	})
	return pairs
}

// batch gives a sequence's items in lists of a length; the last one is filled up, if it is told with what.
func batch(e *env, args []Value) Value {
	n, ok := integer(args[1])
	if !ok || n <= 0 {
		e.failf("batch supports whole numbers above 0")
	}
	var lists List
	for items := range slices.Chunk(e.iterate(args[0]), int(min(n, maxItems))) {
		list := slices.Clone(items)
		if fill := orElse(args[2], nil); fill != nil && int64(len(list)) < n {
			e.makes(int(min(n, maxItems+1)))
			for int64(len(list)) < n {
				list = append(list, fill)
			}
		}
		lists = append(lists, list)
	}
	return generated("generator", lists)
}
