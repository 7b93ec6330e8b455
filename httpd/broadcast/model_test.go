package broadcast

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
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
	over    map[*Stream]bool // it is to be closed
	g       gather
	replies chan *job
	waiting int // jobs asked for, not yet in replies
	done    chan struct{}
}

func (p *handPump) attach(s *Stream) {
	p.streams = append(p.streams, s)
	p.out[s] = new(bytes.Buffer)
	s.member.put(s)
}
func (p *handPump) touch(m *member)              { m.dirty.Store(false) }
func (p *handPump) wake()                        {}
func (p *handPump) lockSending()                 {}
func (p *handPump) unlockSending()               {}
func (p *handPump) reply(j *job)                 { p.replies <- j }
func (p *handPump) look(*Stream)                 {}
func (p *handPump) ask(f func())                 { f() }
func (p *handPump) finish(s *Stream, why Reason) { s.finish(why) }
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
		if n < p.g.total {
			s.set(slowed)
		}
		p.g.settle(s, n)
		return n > 0
	case needReplay:
		p.h.readers.ask(s)
		p.waiting++
	case needEnd:
		p.over[s] = true
	}
	return false
}

// stall has a stream that takes nothing give back what it can.
func (p *handPump) stall(s *Stream) {
	s.set(blocked)
	s.stuck = 1
	p.h.trim(s, s.stuck+trimAfter)
	s.clear(blocked)
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
		if !j.s.is(gone) {
			p.h.take(j)
		}
	case <-time.After(patience):
		t.Fatal("a replay does not come back")
	}
}

func (p *handPump) remove(s *Stream) {
	p.h.forget(s)
	s.set(gone)
	s.member.take(s)
	p.streams = slices.DeleteFunc(p.streams, func(other *Stream) bool { return other == s })
	p.h.left(s, ClientLeft)
}

// TestAgainstModel runs random schedules of publishing, attaching, resuming,
// changing selections, writing in parts, standing still, ageing, ending and
// leaving on tiny rings, under all policies, and compares the bytes that each
// stream got with what the journal says it should get.
func TestAgainstModel(t *testing.T) {
	runs := 300
	if testing.Short() {
		runs = 60
	}
	for seed := range runs {
		t.Run(fmt.Sprint(seed), func(t *testing.T) { runModel(t, uint64(seed)) })
	}
}

func runModel(t *testing.T, seed uint64) {
	rnd := rand.New(rand.NewPCG(seed, 1))
	w, filters := filtered(t, func(c *Config) {
		c.portable, c.byHand, c.TapeBytes, c.Readers = true, true, 1<<(10+rnd.IntN(4)), 1
		c.laneQueue, c.feedRefs = 1+rnd.IntN(60), 4<<rnd.IntN(9)
		c.backlog, c.keyless, c.merged = uint64(1+rnd.IntN(20)), 1+rnd.IntN(8), 1+rnd.IntN(2000)
	})
	p := &handPump{h: w.hub, out: make(map[*Stream]*bytes.Buffer), over: make(map[*Stream]bool),
		replies: make(chan *job, 1000), done: make(chan struct{})}
	p.g.limit = 200 + rnd.IntN(3000)
	old := w.hub.pumps[0]
	old.drain()
	<-old.ended()
	w.hub.pumps = []pump{p}

	m := &model{t: t, w: w, p: p, rnd: rnd, filters: filters, programs: []*testFilter{
		every(3), projecting(2), projecting(4), throwing(4), throwing(5), every(2).in("a"), projecting(3).in("a"), projecting(4).in("a"), throwing(3).in("b"), every(1).in("b"),
	}}
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
	streams []*plainStream
	late    []*Event // in the journal, not yet published
	named   int

	filters  *testFilters
	programs []*testFilter
	told     int // errors of filters
}

func (m *model) step() {
	switch k := m.rnd.IntN(30); {
	case k >= 26:
		m.askLanes()
	case k < 6:
		m.late = append(m.late, m.w.store(1+m.rnd.IntN(12), m.event)...)
		m.publish(m.rnd.IntN(len(m.late) + 1 + len(m.late)*3)) // mostly all
	case k < 8:
		m.attach()
	case k < 9 && len(m.streams) > 0:
		m.leave(m.rnd.IntN(len(m.streams)), m.rnd.IntN(2) == 0)
	case k < 10:
		m.w.pass(time.Duration(m.rnd.IntN(20)) * time.Second)
	case k < 11 && m.rnd.IntN(5) == 0:
		m.w.age(max(m.w.firstSeq(), m.w.head()+1-min(m.w.head(), uint64(m.rnd.IntN(80)))))
	case k < 13 && m.p.waiting > 0:
		m.p.takeReply(m.t)
	case k < 14 && len(m.streams) > 0:
		m.reselect(m.streams[m.rnd.IntN(len(m.streams))])
	case k < 15 && len(m.streams) > 0:
		m.p.stall(m.streams[m.rnd.IntN(len(m.streams))].s)
	case k < 16 && len(m.streams) > 0 && m.rnd.IntN(4) == 0:
		m.w.hub.End(m.streams[m.rnd.IntN(len(m.streams))].s.id, Ended)
	default:
		for range len(m.streams) / 2 {
			m.p.write(m.streams[m.rnd.IntN(len(m.streams))].s, m.rnd.IntN(1<<m.rnd.IntN(14)))
		}
		m.p.noteDone()
		m.comeBack()
	}
}

func (m *model) publish(n int) {
	n = min(n, len(m.late))
	m.w.hub.Publish(m.late[:n])
	m.late = m.late[n:]
}

func (m *model) event(seq uint64) Event {
	ev := mixed(seq)
	if m.rnd.IntN(60) == 0 {
		ev.Value = m.rnd.IntN(6000) // more than a quarter of a small ring
	}
	return ev
}

func (m *model) selection() Selection {
	sels := []Selection{{}, {}, {Domains: []string{"light"}}, {Entities: []string{"*.room_2"}}, {Types: []string{"service_called"}}, {Types: []string{"never"}}}
	sel := sels[m.rnd.IntN(len(sels))]
	if m.rnd.IntN(2) == 0 {
		sel.Filter = m.programs[m.rnd.IntN(len(m.programs))]
	}
	return sel
}

// askLanes has some lanes decide, which may fail, and during which more may be
// published than they have room for.
func (m *model) askLanes() {
	if m.rnd.IntN(8) == 0 {
		m.filters.fail(errors.New("as the test wants"), nil)
	}
	m.filters.during = func() {
		if m.rnd.IntN(4) == 0 {
			m.publish(m.rnd.IntN(len(m.late) + 1))
		}
	}
	for _, l := range m.lanes() {
		if m.rnd.IntN(2) == 0 {
			l.turn()
		}
	}
	m.filters.fail(nil, nil)
	m.filters.during = nil
}

// lanes returns the lanes in the order of their names.
func (m *model) lanes() (lanes []*lane) {
	for _, name := range slices.Sorted(maps.Keys(m.w.hub.lanes)) {
		lanes = append(lanes, m.w.hub.lanes[name])
	}
	return lanes
}

func (m *model) attach() {
	r := Request{
		Format: []string{"flat", "ha", "timed", "native"}[m.rnd.IntN(4)], Selection: m.selection(),
		Slow: Policy(m.rnd.IntN(policies)), GapsAsData: m.rnd.IntN(3) == 0,
	}
	after := m.w.hub.Head()
	if m.rnd.IntN(2) == 0 {
		after = m.w.head()
		after -= min(after, uint64(m.rnd.IntN(200)))
		r.After, r.Resume = after, true
	}
	m.begin(r, after)
}

func (m *model) begin(r Request, after uint64) {
	m.named++
	r.Prologue, r.ID = []byte(": hi\n\n"), fmt.Sprint("stream ", m.named)
	s, err := m.w.hub.Attach(r)
	if err != nil {
		m.t.Fatalf("Attach: %v", err)
	}
	m.streams = append(m.streams, &plainStream{s: s, r: r, after: after, sels: []plainChange{{r.Selection, after}}})
}

// reselect changes a selection, mostly at a sequence that the hub has not yet.
func (m *model) reselect(ps *plainStream) {
	c := plainChange{sel: m.selection()}
	err := m.w.hub.Reselect(ps.s.id, c.sel, func(Selection) ([]byte, uint64) {
		c.after = max(ps.sels[len(ps.sels)-1].after, m.w.hub.Head()+uint64(m.rnd.IntN(len(m.late)+1)))
		if m.rnd.IntN(4) == 0 {
			return nil, c.after
		}
		return sse.AppendEvent(nil, "", "changed", fmt.Append(nil, len(ps.sels))), c.after
	})
	switch {
	case err == nil:
		ps.sels = append(ps.sels, c)
	case !errors.Is(err, ErrBusy):
		m.t.Fatalf("Reselect: %v", err)
	}
}

// leave closes a stream, wherever it is, and may have its reader come back by
// the last id that it saw, with the selection that it knows to be in force.
func (m *model) leave(i int, back bool) {
	ps := m.streams[i]
	at := m.check(ps, false)
	m.p.remove(ps.s)
	m.streams = slices.Delete(m.streams, i, i+1)
	if back {
		r := ps.r
		r.Selection = ps.selectionAt(at)
		r.After, r.Resume = at, true
		m.begin(r, at)
	}
}

// comeBack has the readers of streams that the hub ended come back.
func (m *model) comeBack() {
	for i := 0; i < len(m.streams); {
		if ps := m.streams[i]; !m.p.over[ps.s] {
			i++
			continue
		}
		m.leave(i, true)
	}
}

// finish lets all streams get everything, and checks them.
func (m *model) finish() {
	m.publish(len(m.late))
	for quiet, rounds := 0, 0; quiet < 2; rounds++ {
		quiet++
		for _, l := range m.lanes() {
			for l.turn() == laneBusy {
			}
		}
		if rounds == 1000 {
			for _, ps := range m.streams {
				m.t.Logf("%+v extra %+v pos %d own %q", ps, ps.s.extra.Load(), ps.s.pos, ps.s.own)
			}
			m.t.Fatalf("streams do not come to an end: head %d", m.w.head())
		}
		for _, ps := range m.streams {
			for m.p.write(ps.s, 1<<20) {
				quiet = 0
			}
		}
		for m.p.waiting > 0 {
			m.p.takeReply(m.t)
			quiet = 0
		}
		m.comeBack()
	}
	for _, ps := range m.streams {
		m.check(ps, true)
	}
	for len(m.streams) > 0 {
		m.leave(0, false)
	}
	m.empty()
}

// empty checks that nothing is kept for streams that are gone.
func (m *model) empty() {
	if n := m.w.hub.owned.Load(); n != 0 || len(m.w.hub.ids.byID) != 0 {
		m.t.Errorf("got %d bytes and %d ids kept without streams, want none", n, len(m.w.hub.ids.byID))
	}
	m.w.pass(time.Second)
	for _, l := range m.lanes() {
		l.turn()
	}
	if n := m.filters.used(); n != 0 || len(m.w.hub.lanes) != 0 || len(m.w.hub.filters) != 0 {
		m.t.Errorf("got %d filters in use and %d lanes without streams, want none", n, len(m.w.hub.lanes))
	}
	m.w.hub.awaken()
	if n := len(m.w.hub.waits); n != 0 {
		m.t.Errorf("got %d streams waited for, want none", n)
	}
	for _, ch := range m.w.hub.channels {
		for _, f := range ch.feeds {
			if n := f.streams.Load(); n != 0 {
				m.t.Errorf("feed %+v: got %d streams, want 0", f.sel, n)
			}
		}
	}
}
