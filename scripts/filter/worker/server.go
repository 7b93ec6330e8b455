package worker

import (
	"encoding/binary"
	"io"
	"time"

	"github.com/dop251/goja"
)

const (
	// flushBytes and flushAfter bound what is decided but not yet told.
	flushBytes = 64 << 10
	flushAfter = 2 * time.Millisecond
)

// A server decides about events with the filters that it was given. It belongs
// to one goroutine.
type server struct {
	out      io.Writer
	failed   bool // writing did
	at       marker
	programs map[uint32]*program
	values   *goja.Runtime // makes values that all machines read
	heap     heap
}

func newServer(out io.Writer, memory int64, page bool) *server {
	s := &server{out: out, programs: map[uint32]*program{}, values: goja.New(), heap: heap{room: uint64(memory)}}
	if page {
		s.at.page = openPage()
	}
	if s.at.page == nil {
		s.at.tell = s.tellPlace
	}
	return s
}

// handle does what a frame asks for and reports whether it could.
func (s *server) handle(f frame) bool {
	d := &decoder{s: f.body}
	switch f.kind {
	case kindLoad:
		if m := d.load(); !d.bad {
			s.load(m)
		}
	case kindUnload:
		delete(s.programs, uint32(d.uint()))
	case kindBatch:
		if b := d.batch(s.programs); !d.bad {
			s.decide(b)
		}
	default:
		return false
	}
	return !d.bad && !s.failed
}

func (s *server) send(b []byte) {
	if _, err := s.out.Write(b); err != nil {
		s.failed = true
	}
}

func (s *server) load(m load) {
	p := &program{load: m}
	s.at.set(m.id, 0)
	failed := &loaded{line: 1, column: 1, message: "there is no memory left for another filter"}
	if !s.heap.full() {
		failed = p.open()
	}
	s.at.clear()
	if failed == nil {
		failed = &loaded{}
	}
	p.broken, failed.id = failed.message, m.id
	s.programs[m.id] = p
	s.send(failed.append(nil))
}

// A batch is events and who is to decide about them.
type batch struct {
	number   uint64
	programs []*program
	wants    bitmap // who is to decide about what; empty for all
	events   []eventWire
}

func (d *decoder) batch(programs map[uint32]*program) *batch {
	b := &batch{number: d.uint(), programs: make([]*program, d.count())}
	for i := range b.programs {
		id := uint32(d.uint())
		if b.programs[i] = programs[id]; b.programs[i] == nil {
			b.programs[i] = &program{load: load{id: id}, broken: "the filter is not loaded"}
		}
	}
	b.wants = bitmap(d.str())
	b.events = make([]eventWire, d.count())
	for i := range b.events {
		b.events[i] = d.event()
	}
	if len(b.wants) > 0 && len(b.wants) != len(newBitmap(len(b.programs)*len(b.events))) {
		d.fail()
	}
	return b
}

// decide answers a batch, in one or several parts.
func (s *server) decide(b *batch) {
	began := time.Now()
	m := part{batch: b.number}
	bits := newBitmap(len(b.programs) * len(b.events))
	size := 0
	for i := range b.events {
		v := newView(s.values, b.events[i])
		for k, p := range b.programs {
			if len(b.wants) > 0 && !b.wants.has(i*len(b.programs)+k) {
				continue
			}
			d := s.ask(p, v, i)
			if d.match {
				bits.set(m.count*len(b.programs) + k)
			}
			if d.data != "" {
				m.extras = append(m.extras, extra{i, k, extraProjection, d.data})
				size += len(d.data)
			} else if d.err != "" {
				m.extras = append(m.extras, extra{i, k, extraError, d.err})
				size += len(d.err)
			}
		}
		s.at.clear()
		m.count++
		last := i == len(b.events)-1
		if now := time.Now(); last || size > flushBytes || now.Sub(began) > flushAfter {
			n := len(newBitmap(m.count * len(b.programs)))
			m.matches = bits[:n]
			s.send(m.append(nil))
			s.checkHeap()
			clear(bits[:n])
			m.first, m.count, m.extras, size = i+1, 0, nil, 0
			began = now
		}
	}
}

// ask has one filter decide about one event, the i-th of its batch.
func (s *server) ask(p *program, v *view, i int) verdict {
	s.at.set(p.id, i+1)
	if !s.heap.watching {
		return p.decide(v)
	}
	before := s.heap.allocated()
	d := p.decide(v)
	p.allocated += s.heap.allocated() - before
	return d
}

func (s *server) tellPlace(place uint64) {
	b, start := beginFrame(nil, kindAt)
	s.send(endFrame(binary.AppendUvarint(b, place), start))
}
