package filter

import (
	"math"
	"strconv"
	"strings"
)

// A printer writes the canonical text of expressions: JavaScript with every
// operator in parentheses, and locals numbered as they come.
type printer struct {
	out    strings.Builder
	locals map[int]int
}

// canonical returns x's canonical text.
func canonical(x *expr) string {
	p := printer{locals: map[int]int{}}
	p.expr(x)
	return p.out.String()
}

func (p *printer) write(parts ...string) {
	for _, s := range parts {
		p.out.WriteString(s)
	}
}

// local names the local in a slot.
func (p *printer) local(slot int) string {
	n, ok := p.locals[slot]
	if !ok {
		n = len(p.locals) + 1
		p.locals[slot] = n
	}
	return "$" + strconv.Itoa(n)
}

func (p *printer) expr(x *expr) {
	switch x.op {
	case opConst:
		p.write(constantText(x.constant))
	case opEvent:
		p.write("e")
	case opField:
		p.write("e.", eventFieldNames[x.n])
	case opLocal:
		p.write(p.local(x.n))
	case opLet:
		p.write("(", p.local(x.n), " = ")
		p.list(x.kids, "; ")
		p.write(")")
	case opThen:
		p.operators(x, "; ")
	case opLogic, opArith, opEqual, opLess, opIn:
		p.operators(x, " "+x.name+" ")
	case opNot, opTypeof, opUnary, opVoid, opIterate, opObjectOf, opDate, opSpread:
		p.write(prefixes[x.op], x.name, "(")
		p.list(x.kids, ", ")
		p.write(")")
	case opCond:
		p.write("(")
		p.expr(x.kids[0])
		p.write(" ? ")
		p.list(x.kids[1:], " : ")
		p.write(")")
	default:
		p.other(x)
	}
}

var prefixes = map[op]string{opVoid: "void ", opIterate: "...", opObjectOf: "object ", opDate: "new ", opSpread: "spread "}

func (p *printer) operators(x *expr, between string) {
	p.write("(")
	p.list(x.kids, between)
	p.write(")")
}

func (p *printer) list(kids []*expr, between string) {
	for i, k := range kids {
		if i > 0 {
			p.write(between)
		}
		p.expr(k)
	}
}

func (p *printer) other(x *expr) {
	dot := "."
	if x.optional {
		dot = "?."
	}
	switch x.op {
	case opGet:
		p.expr(x.kids[0])
		p.write(dot, propertyText(x.name))
	case opIndex:
		p.expr(x.kids[0])
		p.write(strings.TrimPrefix(dot, "."), "[")
		p.expr(x.kids[1])
		p.write("]")
	case opChain:
		p.operators(x, "")
	case opText:
		p.text(x)
	case opList:
		p.write("[")
		p.list(x.kids, ", ")
		p.write("]")
	case opObject:
		p.write("{")
		p.list(x.kids, ", ")
		p.write("}")
	case opProp:
		p.property(x)
	case opCall:
		p.write(x.name, "(")
		p.list(x.kids, ", ")
		p.write(")")
	case opMethod:
		p.expr(x.kids[0])
		p.write(dot, x.name, "(")
		p.list(x.kids[1:], ", ")
		p.write(")")
	case opLoop:
		p.loop(x, dot)
	case opMatch:
		p.expr(x.kids[0])
		p.write(dot, x.name, "(", strconv.FormatBool(x.pattern.whole), x.pattern.key, ")")
	}
}

func (p *printer) text(x *expr) {
	p.write("`", quoted(x.texts[0]))
	for i, k := range x.kids {
		p.write("${")
		p.expr(k)
		p.write("}", quoted(x.texts[i+1]))
	}
	p.write("`")
}

func (p *printer) property(x *expr) {
	if len(x.kids) > 1 {
		p.write("[")
		p.expr(x.kids[1])
		p.write("]: ")
	} else {
		p.write(quoted(x.name), ": ")
	}
	p.expr(x.kids[0])
}

func (p *printer) loop(x *expr, dot string) {
	p.expr(x.kids[0])
	p.write(dot, x.name, "(")
	n := 3
	if loops[x.name].folds {
		n = 4
	}
	for i := range n {
		p.write(p.local(x.n+i), " ")
	}
	p.write("=> ")
	p.list(x.kids[1:], ", ")
	p.write(")")
}

func constantText(v value) string {
	switch v.kind {
	case number:
		if v.num() == 0 && math.Signbit(v.num()) {
			return "-0"
		}
		return formatNumber(v.num())
	case str, list, object:
		text, _ := appendJSON(nil, v)
		return string(text)
	}
	s, _ := v.toString()
	return s
}

// propertyText is a property's name as it stands behind a dot.
func propertyText(name string) string {
	for i := range len(name) {
		c := name[i]
		if c != '_' && (c|0x20 < 'a' || c|0x20 > 'z') && (i == 0 || c < '0' || c > '9') {
			return quoted(name)
		}
	}
	return name
}

func quoted(s string) string { return string(appendQuoted(nil, s)) }

// Weights of nodes in a program's cost. A callback counts as often as a short
// list has items.
const loopWeight = 8

// cost is the weighted number of nodes of x.
func (x *expr) cost() int {
	c := 1
	for i, k := range x.kids {
		n := k.cost()
		if x.op == opLoop && i == 1 {
			n *= loopWeight
		}
		c += n
	}
	switch x.op {
	case opMethod, opCall, opText, opList, opObject, opDate:
		c += 2
	case opMatch:
		c += 2 + x.pattern.weight/8
	}
	return min(c, 1<<30)
}
