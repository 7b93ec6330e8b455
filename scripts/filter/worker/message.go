package worker

import (
	"encoding/binary"
	"unsafe"

	"carillon/runtime"
)

// asString returns b, which nobody changes any more, as a string.
func asString(b []byte) string { return unsafe.String(unsafe.SliceData(b), len(b)) }

// An eventWire is an event as the worker gets it. Its parts come from
// runtime.Event's accessors, so that both sides agree on what it has.
type eventWire struct {
	seq                           uint64
	time                          int64 // milliseconds since 1970
	typ, entityID, domain, source string
	data                          string // JSON
	old, new                      stateWire
}

type stateWire struct {
	there             bool
	state, attributes string
	changed, updated  int64 // milliseconds since 1970
}

func appendEvent(dst []byte, e *runtime.Event) []byte {
	dst = binary.AppendUvarint(dst, e.Seq)
	dst = binary.AppendVarint(dst, e.Time.UnixMilli())
	for _, s := range [...]string{e.Type, e.EntityID, e.Domain, e.Source} {
		dst = appendString(dst, s)
	}
	dst = appendString(dst, e.Data())
	return appendState(appendState(dst, e.Old()), e.New())
}

func appendState(dst []byte, s *runtime.State) []byte {
	if s == nil {
		return append(dst, 0)
	}
	dst = appendString(append(dst, 1), s.State)
	dst = appendString(dst, s.Attributes)
	dst = binary.AppendVarint(dst, s.LastChanged.UnixMilli())
	return binary.AppendVarint(dst, s.LastUpdated.UnixMilli())
}

func (d *decoder) event() eventWire {
	return eventWire{
		seq: d.uint(), time: d.int(),
		typ: d.str(), entityID: d.str(), domain: d.str(), source: d.str(),
		data: d.str(), old: d.state(), new: d.state(),
	}
}

func (d *decoder) state() stateWire {
	if d.uint() == 0 {
		return stateWire{}
	}
	return stateWire{there: true, state: d.str(), attributes: d.str(), changed: d.int(), updated: d.int()}
}

// A bitmap has a bit for each decision, those of the first event first.
type bitmap []byte

func newBitmap(bits int) bitmap { return make(bitmap, (bits+7)/8) }

func (b bitmap) set(i int)      { b[i/8] |= 1 << (i % 8) }
func (b bitmap) has(i int) bool { return b[i/8]&(1<<(i%8)) != 0 }

// What a decision has beside its bit in a part.
const (
	extraProjection = iota
	extraError
)

// A load is a filter on its way to the worker.
type load struct {
	id                   uint32
	name, source, params string
}

func (m load) append(dst []byte) []byte {
	dst, start := beginFrame(dst, kindLoad)
	dst = binary.AppendUvarint(dst, uint64(m.id))
	dst = appendString(appendString(appendString(dst, m.name), m.source), m.params)
	return endFrame(dst, start)
}

func (d *decoder) load() load {
	return load{id: uint32(d.uint()), name: d.str(), source: d.str(), params: d.str()}
}

// A loaded says how a load went: message is empty if it went well.
type loaded struct {
	id           uint32
	line, column int
	message      string
}

func (m loaded) append(dst []byte) []byte {
	dst, start := beginFrame(dst, kindLoaded)
	for _, n := range [...]int{int(m.id), m.line, m.column} {
		dst = binary.AppendUvarint(dst, uint64(n))
	}
	return endFrame(appendString(dst, m.message), start)
}

func (d *decoder) loaded() loaded {
	return loaded{id: uint32(d.uint()), line: int(d.uint()), column: int(d.uint()), message: d.str()}
}

// An extra is what a decision has beside its bit: a projection or an error.
type extra struct {
	event, filter int // places in the batch
	kind          uint64
	text          string
}

// A part is what was decided about some events of a batch, in order.
type part struct {
	batch        uint64
	first, count int
	matches      bitmap // count × the batch's filters
	extras       []extra
}

func (m *part) append(dst []byte) []byte {
	dst, start := beginFrame(dst, kindPart)
	dst = binary.AppendUvarint(dst, m.batch)
	dst = binary.AppendUvarint(dst, uint64(m.first))
	dst = binary.AppendUvarint(dst, uint64(m.count))
	dst = appendString(dst, m.matches)
	dst = binary.AppendUvarint(dst, uint64(len(m.extras)))
	for _, x := range m.extras {
		dst = binary.AppendUvarint(dst, uint64(x.event))
		dst = binary.AppendUvarint(dst, uint64(x.filter))
		dst = binary.AppendUvarint(dst, x.kind)
		dst = appendString(dst, x.text)
	}
	return endFrame(dst, start)
}

func (d *decoder) part() *part {
	m := &part{batch: d.uint(), first: int(d.uint()), count: int(d.uint()), matches: bitmap(d.str())}
	n := d.count()
	for range n {
		m.extras = append(m.extras, extra{int(d.uint()), int(d.uint()), d.uint(), d.str()})
	}
	return m
}

func appendUnload(dst []byte, id uint32) []byte {
	dst, start := beginFrame(dst, kindUnload)
	return endFrame(binary.AppendUvarint(dst, uint64(id)), start)
}
