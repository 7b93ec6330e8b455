package filter

// The methods of lists that call nothing back.

var listLists = methods1{
	"slice": func(m *machine, this value, args []value) value {
		items := this.node().items
		from, to := m.relative(args, 0, 0, len(items)), m.relative(args, 1, len(items), len(items))
		if from >= to {
			return listValue(nil)
		}
		return listValue(items[from:to:to])
	},
	"concat": func(m *machine, this value, args []value) value {
		items := this.node().items
		items = items[:len(items):len(items)]
		for _, a := range args {
			if a.kind == list {
				items = append(items, a.node().items...)
			} else {
				items = append(items, a)
			}
			if !m.spend(1 + len(items)/4) {
				break
			}
		}
		return listValue(items)
	},
	"flat": func(m *machine, this value, args []value) value {
		return listValue(m.flatten(nil, this, m.integer(args, 0, 1)))
	},
	"toReversed": func(m *machine, this value, args []value) value {
		from := this.node().items
		if !m.spend(1 + len(from)/4) {
			return value{}
		}
		items := make([]value, 0, len(from))
		for i := len(from) - 1; i >= 0; i-- {
			items = append(items, from[i])
		}
		return listValue(items)
	},
}

// flatten appends the items of v, and those of lists in it down to depth.
func (m *machine) flatten(items []value, v value, depth int) []value {
	for _, item := range v.node().items {
		if !m.spend(1) {
			return items
		}
		if item.kind == list && depth > 0 {
			items = m.flatten(items, item, depth-1)
		} else {
			items = append(items, item)
		}
	}
	return items
}

func listIncludes(m *machine, this value, args []value) value {
	items, sought := this.node().items, argument(args, 0)
	from := m.from(args, len(items))
	for _, item := range items[from:] {
		if sameValueZero(item, sought) {
			return boolValue(true)
		}
	}
	return boolValue(false)
}

func listIndexOf(m *machine, this value, args []value) value {
	items, sought := this.node().items, argument(args, 0)
	from := m.from(args, len(items))
	for i, item := range items[from:] {
		if strictEqual(item, sought) {
			return numberValue(float64(from + i))
		}
	}
	return numberValue(-1)
}

// from is where a search in a list of n items begins. Nothing is converted for
// an empty list.
func (m *machine) from(args []value, n int) int {
	m.spend(1 + n/8)
	if n == 0 || len(args) < 2 {
		return 0
	}
	return m.relative(args, 1, 0, n)
}

func listLastIndexOf(m *machine, this value, args []value) value {
	items, sought := this.node().items, argument(args, 0)
	m.spend(1 + len(items)/8)
	from := len(items) - 1
	if len(items) > 0 && len(args) > 1 {
		// Unlike elsewhere, undefined is 0 here.
		if i := toInteger(m.toNumber(args[1])); i < 0 {
			from = len(items) + i
		} else {
			from = min(i, from)
		}
	}
	for i := from; i >= 0; i-- {
		if strictEqual(items[i], sought) {
			return numberValue(float64(i))
		}
	}
	return numberValue(-1)
}

func listAt(m *machine, this value, args []value) value {
	i := m.integer(args, 0, 0)
	if i < 0 {
		i += len(this.node().items)
	}
	return this.at(i)
}

func listJoin(m *machine, this value, args []value) value {
	separator := ","
	if s := argument(args, 0); s.kind != undefined {
		separator = m.toString(s)
	}
	if !m.spend(m.weight(this) + len(this.node().items)*(1+len(separator)/32)) {
		return value{}
	}
	s, ok := this.join(separator)
	if !ok {
		return m.typeError(cannotConvert)
	}
	return stringValue(s)
}
