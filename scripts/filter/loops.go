package filter

// A loop is a method of lists that calls back.
type loop struct {
	kinds kinds
	folds bool // like reduce: the callback gets what it returned before, first
	run   func(m *machine, items []value, l *loopBody) value
}

// A loopBody is a callback and where its parameters go.
type loopBody struct {
	call  func(m *machine) value
	slot  int                    // of the item, the index and the list; for a fold, of the result so far and those
	units int                    // what one call takes
	start func(m *machine) value // of a fold, or nil
}

// each calls back for one item. ok is false when the run must end.
func (l *loopBody) each(m *machine, i int, item value) (v value, ok bool) {
	if !m.spend(l.units) {
		return value{}, false
	}
	at := m.locals[l.slot : l.slot+2]
	at[0], at[1] = item, numberValue(float64(i))
	v = l.call(m)
	return v, m.fault == nil
}

var loops = map[string]*loop{
	"some": {kinds: of(boolean), run: func(m *machine, items []value, l *loopBody) value {
		i := l.find(m, items, true)
		return boolValue(i >= 0)
	}},
	"every": {kinds: of(boolean), run: func(m *machine, items []value, l *loopBody) value {
		i := l.find(m, items, false)
		return boolValue(i < 0)
	}},
	"find": {kinds: anyKind, run: func(m *machine, items []value, l *loopBody) value {
		if i := l.find(m, items, true); i >= 0 {
			return items[i]
		}
		return value{}
	}},
	"findIndex": {kinds: of(number), run: func(m *machine, items []value, l *loopBody) value {
		return numberValue(float64(l.find(m, items, true)))
	}},
	"findLast": {kinds: anyKind, run: func(m *machine, items []value, l *loopBody) value {
		if i := l.findLast(m, items); i >= 0 {
			return items[i]
		}
		return value{}
	}},
	"findLastIndex": {kinds: of(number), run: func(m *machine, items []value, l *loopBody) value {
		return numberValue(float64(l.findLast(m, items)))
	}},
	"filter": {kinds: of(list), run: func(m *machine, items []value, l *loopBody) value {
		var kept []value
		for i, item := range items {
			v, ok := l.each(m, i, item)
			if !ok {
				break
			}
			if v.truthy() {
				kept = append(kept, item)
			}
		}
		return listValue(kept)
	}},
	"map":         {kinds: of(list), run: mapLoop},
	"flatMap":     {kinds: of(list), run: flatMapLoop},
	"reduce":      {kinds: anyKind, folds: true, run: reduceLoop},
	"reduceRight": {kinds: anyKind, folds: true, run: reduceRightLoop},
}

// find returns the first item for which the truth of the callback is want, or
// -1.
func (l *loopBody) find(m *machine, items []value, want bool) int {
	for i, item := range items {
		v, ok := l.each(m, i, item)
		if !ok {
			break
		}
		if v.truthy() == want {
			return i
		}
	}
	return -1
}

func (l *loopBody) findLast(m *machine, items []value) int {
	for i := len(items) - 1; i >= 0; i-- {
		v, ok := l.each(m, i, items[i])
		if !ok {
			break
		}
		if v.truthy() {
			return i
		}
	}
	return -1
}

func mapLoop(m *machine, items []value, l *loopBody) value {
	if !m.spend(1 + len(items)/8) {
		return value{}
	}
	mapped := make([]value, 0, len(items))
	for i, item := range items {
		v, ok := l.each(m, i, item)
		if !ok {
			break
		}
		mapped = append(mapped, v)
	}
	return listValue(mapped)
}

func flatMapLoop(m *machine, items []value, l *loopBody) value {
	var mapped []value
	for i, item := range items {
		v, ok := l.each(m, i, item)
		if !ok {
			break
		}
		if v.kind != list {
			mapped = append(mapped, v)
			continue
		}
		if !m.spend(len(v.node().items)) {
			break
		}
		mapped = append(mapped, v.node().items...)
	}
	return listValue(mapped)
}

func reduceLoop(m *machine, items []value, l *loopBody) value {
	result, from, ok := l.begin(m, items, 0)
	for i := from; ok && i < len(items); i++ {
		result, ok = l.fold(m, result, i, items[i])
	}
	return result
}

func reduceRightLoop(m *machine, items []value, l *loopBody) value {
	result, from, ok := l.begin(m, items, len(items)-1)
	for i := len(items) - 1 - from; ok && i >= 0; i-- {
		result, ok = l.fold(m, result, i, items[i])
	}
	return result
}

// begin returns what a fold starts with, and how many items that takes. The
// start, if there is one, has been computed already.
func (l *loopBody) begin(m *machine, items []value, first int) (result value, taken int, ok bool) {
	if l.start != nil {
		return m.stack[len(m.stack)-1], 0, true
	}
	if len(items) == 0 {
		m.typeError("No initial value")
		return value{}, 0, false
	}
	return items[first], 1, true
}

func (l *loopBody) fold(m *machine, result value, i int, item value) (v value, ok bool) {
	if !m.spend(l.units) {
		return value{}, false
	}
	at := m.locals[l.slot : l.slot+3]
	at[0], at[1], at[2] = result, item, numberValue(float64(i))
	v = l.call(m)
	return v, m.fault == nil
}
