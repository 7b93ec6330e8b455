package broadcast

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"carillon/internal/sse"
)

// A handPump is a pump that a test works by hand, on one goroutine, with
// connections that take as many bytes as the test likes.
type handPump struct {
	h       *Hub
	streams []*Stream
	out     map[*Stream]*bytes.Buffer
	g       gather
	replies chan *job
	waiting int // jobs asked for, not yet in replies
	done    chan struct{}
}

func (p *handPump) attach(s *Stream) {
	p.streams = append(p.streams, s)
	p.out[s] = new(bytes.Buffer)
	s.member.streams = append(s.member.streams, s)
}
func (p *handPump) touch(m *member)        { m.dirty.Store(false) }
func (p *handPump) wake()                  {}
func (p *handPump) lockSending()           {}
func (p *handPump) unlockSending()         {}
func (p *handPump) reply(j *job)           { p.replies <- j }
func (p *handPump) ask(f func())           { f() }
func (p *handPump) look(*Stream)           {}
func (p *handPump) finish(*Stream, Reason) {}
func (p *handPump) sweep() {
	for _, s := range p.streams {
		if s.silent(p.h.clock.Load()) {
			s.own = appendPosition(nil, testEpoch, s.pos)
		}
	}
}
func (p *handPump) drain()                 { close(p.done) }
func (p *handPump) abort()                 {}
func (p *handPump) ended() <-chan struct{} { return p.done }
func (p *handPump) each(fn func(*Stream)) {
	for _, s := range p.streams {
		fn(s)
	}
}

// write lets the connection of s take up to room bytes, and reports whether it
// took any.
func (p *handPump) write(s *Stream, room int) bool {
	s.sent = p.h.clock.Load()
	switch p.h.next(s, &p.g) {
	case needOwn:
		n := min(room, len(s.own))
		p.out[s].Write(s.own[:n])
		s.own = s.own[n:]
		return n > 0
	case needSend:
		n := min(room, p.g.total)
		left := n
		for _, piece := range p.g.pieces {
			k := min(left, len(piece))
			p.out[s].Write(piece[:k])
			left -= k
		}
		p.g.settle(s, n)
		return n > 0
	case needReplay:
		p.h.readers.ask(s)
		p.waiting++
	}
	return false
}

func (p *handPump) noteDone() {
	done := make(map[*member]uint64)
	for _, s := range p.streams {
		if _, ok := done[s.member]; !ok {
			done[s.member] = ^uint64(0)
		}
		if s.is(joined) {
			done[s.member] = min(done[s.member], s.cursor)
		}
	}
	for m, least := range done {
		m.done.Store(least)
	}
}

func (p *handPump) takeReply(t *testing.T) {
	select {
	case j := <-p.replies:
		p.waiting--
		if j.err != nil {
			t.Fatalf("replay: %v", j.err)
		}
		p.h.take(j)
	case <-time.After(patience):
		t.Fatal("a replay does not come back")
	}
}

func (p *handPump) remove(s *Stream) {
	s.set(gone)
	for i, other := range p.streams {
		if other == s {
			p.streams = append(p.streams[:i], p.streams[i+1:]...)
			break
		}
	}
	p.h.left(s, ClientLeft)
}

// A plainStream is what the model knows of a stream.
type plainStream struct {
	s     *Stream
	sel   Selection
	after uint64
}

// TestAgainstModel runs random schedules of publishing, attaching, resuming,
// writing in parts, ageing and leaving on tiny rings, and compares the bytes
// that each stream got with what the journal says it should get.
func TestAgainstModel(t *testing.T) {
	runs := 300
	if testing.Short() {
		runs = 50
	}
	for seed := range runs {
		t.Run(fmt.Sprint(seed), func(t *testing.T) { runModel(t, uint64(seed)) })
	}
}

func runModel(t *testing.T, seed uint64) {
	rnd := rand.New(rand.NewPCG(seed, 1))
	w := newWorld(t, func(c *Config) { c.portable, c.TapeBytes, c.Readers = true, 1<<(10+rnd.IntN(4)), 1 })
	p := &handPump{h: w.hub, out: make(map[*Stream]*bytes.Buffer), replies: make(chan *job, 1000), done: make(chan struct{})}
	p.g.limit = 200 + rnd.IntN(3000)
	old := w.hub.pumps[0]
	old.drain()
	<-old.ended()
	w.hub.pumps = []pump{p}

	m := &model{t: t, w: w, p: p, rnd: rnd}
	for range 400 {
		m.step()
	}
	m.finish()
}

type model struct {
	t       *testing.T
	w       *world
	p       *handPump
	rnd     *rand.Rand
	streams []plainStream
}

func (m *model) step() {
	switch k := m.rnd.IntN(20); {
	case k < 6:
		m.w.publish(1+m.rnd.IntN(12), m.event)
	case k < 8:
		m.attach()
	case k < 9 && len(m.streams) > 0:
		i := m.rnd.IntN(len(m.streams))
		m.check(m.streams[i], false)
		m.p.remove(m.streams[i].s)
		m.streams = append(m.streams[:i], m.streams[i+1:]...)
	case k < 10:
		m.w.pass(time.Duration(m.rnd.IntN(20)) * time.Second)
	case k < 11 && m.rnd.IntN(5) == 0:
		m.w.age(max(m.w.firstSeq(), m.w.head()+1-min(m.w.head(), uint64(m.rnd.IntN(80)))))
	case k < 13 && m.p.waiting > 0:
		m.p.takeReply(m.t)
	default:
		for range len(m.streams) / 2 {
			m.p.write(m.streams[m.rnd.IntN(len(m.streams))].s, m.rnd.IntN(1<<m.rnd.IntN(14)))
		}
		m.p.noteDone()
	}
}

func (m *model) event(seq uint64) Event {
	ev := mixed(seq)
	if m.rnd.IntN(60) == 0 {
		ev.Value = m.rnd.IntN(6000) // more than a quarter of a small ring
	}
	return ev
}

func (m *model) attach() {
	sels := []Selection{{}, {}, {Domains: []string{"light"}}, {Entities: []string{"*.room_2"}}, {Types: []string{"service_called"}}, {Types: []string{"never"}}}
	ps := plainStream{sel: sels[m.rnd.IntN(len(sels))], after: m.w.head()}
	r := Request{Format: []string{"flat", "ha", "timed"}[m.rnd.IntN(3)], Selection: ps.sel, Prologue: []byte(": hi\n\n")}
	if m.rnd.IntN(2) == 0 {
		ps.after -= min(ps.after, uint64(m.rnd.IntN(200)))
		r.After, r.Resume = ps.after, true
	}
	s, err := m.w.hub.Attach(r)
	if err != nil {
		m.t.Fatalf("Attach: %v", err)
	}
	ps.s = s
	m.streams = append(m.streams, ps)
}

// finish lets all streams get everything, and checks them.
func (m *model) finish() {
	for quiet := 0; quiet < 2; {
		quiet++
		for _, ps := range m.streams {
			for m.p.write(ps.s, 1<<20) {
				quiet = 0
			}
		}
		for m.p.waiting > 0 {
			m.p.takeReply(m.t)
			quiet = 0
		}
	}
	for _, ps := range m.streams {
		m.check(ps, true)
	}
}

// check reads what a stream got: each event once, in order, with the right
// bytes, all of its selection up to wherever an id says, but for told gaps.
func (m *model) check(ps plainStream, whole bool) {
	at := ps.after // everything up to here was given, or told as a gap
	reach := func(seq uint64, why string) {
		for _, missed := range m.w.want(ps.sel, min(at, seq), seq) {
			m.t.Fatalf("stream after %d of %+v: event %d is missing before %s %d", ps.after, ps.sel, missed, why, seq)
		}
		if seq < at {
			m.t.Fatalf("stream after %d of %+v: got %s %d after %d", ps.after, ps.sel, why, seq, at)
		}
		at = seq
	}
	sel := ps.sel.canonical()
	r := sse.Reader{On: func(f sse.Frame) {
		_, seq, _ := sse.ParseID(string(f.ID))
		switch {
		case f.Kind == sse.Comment || string(f.Data) == "ping" || bytes.HasPrefix(f.Data, []byte("ping ")):
		case f.Kind == sse.Moved:
			reach(seq, "position")
		case string(f.Event) == "gap":
			var from, to uint64
			fmt.Sscanf(string(f.Data), `{"from":%d,"to":%d,`, &from, &to)
			reach(from-1, "gap from")
			if to < from || to >= m.w.firstSeq() || seq != to {
				m.t.Fatalf("got gap %s with id %s, want one that ends before %d", f.Data, f.ID, m.w.firstSeq())
			}
			at = to
		default:
			if seq <= at {
				m.t.Fatalf("got event %d after %d", seq, at)
			}
			reach(seq-1, "event")
			ev := m.w.events[seq-1]
			if !sel.matches(ev) || string(f.Data) != string(payload(nil, ev)) {
				m.t.Fatalf("event %d: got %.80q, want %.80q", seq, f.Data, payload(nil, ev))
			}
			at = seq
		}
	}}
	r.Write(m.p.out[ps.s].Bytes())
	if whole {
		reach(m.w.head(), "end")
		if r.Pending() {
			m.t.Fatal("got an unfinished frame at the end")
		}
	}
}
