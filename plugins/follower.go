package plugins

import (
	"context"
	"errors"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	sdk "carillon/plugins/adapter"
	"carillon/plugins/adapter/wire"
	"carillon/runtime"
)

// A follower tells an adapter what happens, from the feed or, if it is too far behind
// for that, from the journal. It keeps its place and one message, and one part of
// the journal at most.
type follower struct {
	// Static after construction.
	s        *session
	id       uint64
	sel      selection
	from     place
	snapshot bool
	marks    bool
	ctx      context.Context
	stop     context.CancelFunc
	gave     chan struct{} // depth 1: credit came
	ended    chan struct{} // closed by run

	place atomic.Uint64 // everything up to here is told, or not asked for; written by run

	mu     sync.Mutex
	credit int // guarded by mu; below 0 after a large event

	// Owned by run.
	message []*wire.Happening // not yet sent
	bytes   int               // of their JSON
	part    []*runtime.Event  // of the feed or of the journal
	told    uint64            // of the last id in a message
}

// A message has at most this many events, and is sent when it has that many
// bytes: others' commands wait for it in the stream.
const (
	messageEvents = 512
	messageBytes  = 128 << 10
)

// A part of the journal has at most this many events that are asked for, and is told when
// it has that many bytes. Each costs the journal about a millisecond.
const (
	partEvents = 1024
	partBytes  = 1 << 20
)

// markEvery is how many events are passed over before a follow is told where it is: its
// adapter goes on from there, and they are not looked through again.
const markEvery = 1000

// maxHappening is how large an event's JSON may be for a message to hold it.
const maxHappening = MaxMessage - 4<<10

// give takes credit in.
func (f *follower) give(credit uint32) {
	f.mu.Lock()
	f.credit = int(min(int64(f.credit)+int64(credit), maxFollowCredit))
	f.mu.Unlock()
	signal(f.gave)
}

// run tells until the session ends or stop is called.
func (f *follower) run() {
	defer close(f.ended)
	f.s.a.host.feed.join()
	defer f.s.a.host.feed.part()
	for err := f.begin(); err == nil; {
		err = f.next()
	}
}

// begin finds the place to begin at.
func (f *follower) begin() error {
	h := f.s.a.host
	head := h.Runtime.Head()
	f.place.Store(head)
	switch {
	case f.from.epoch == "":
		return f.present("")
	case f.from.epoch != h.Epoch:
		return f.present(sdk.GapEpoch)
	case f.from.seq > head:
		return f.present(sdk.GapAhead)
	}
	f.place.Store(f.from.seq)
	f.told = f.from.seq
	return nil
}

// present goes on from now on: behind a gap of everything since the place, if there
// is a reason for one, and behind the present states, if they are asked for.
func (f *follower) present(reason string) error {
	var states []*runtime.State
	cut := f.s.a.host.Runtime.Head()
	if f.snapshot {
		states, cut = f.states()
	}
	if reason != "" {
		gap := sdk.Gap{From: f.place.Load() + 1, To: cut, Reason: reason}
		if reason != sdk.GapAgedOut {
			gap.From = 0
		}
		if err := f.tellGap(gap, len(states) == 0); err != nil {
			return err
		}
	}
	for i, st := range states {
		e := st.Event()
		w := f.happening(e)
		w.Present = true
		if w.Id = ""; i == len(states)-1 {
			w.Id = f.idOf(cut)
		}
		if err := f.tell(w); err != nil {
			return err
		}
	}
	f.place.Store(cut)
	return f.mark(cut, min(1, cut)) // also of an empty journal
}

// mark flushes, with a mark if the last id that was told is at least so many sequences
// behind.
func (f *follower) mark(seq, behind uint64) error {
	if f.marks && seq >= f.told+behind {
		if err := f.tell(&wire.Happening{Id: f.idOf(seq)}); err != nil {
			return err
		}
	}
	return f.flush()
}

// states returns the present states that are asked for, and the sequence that they
// are of.
func (f *follower) states() ([]*runtime.State, uint64) {
	states, sources, cut := f.s.a.host.Runtime.SnapshotSources()
	kept := states[:0]
	for i, st := range states {
		own := f.sel.own != "" && strings.HasPrefix(sources[i], f.sel.own+"@")
		if !own && f.sel.matches(runtime.StateChanged, runtime.Domain(st.EntityID), st.EntityID) {
			kept = append(kept, st)
		}
	}
	return kept, cut
}

// next tells what is behind the place, or waits until there is something.
func (f *follower) next() error {
	if f.part == nil {
		f.part = make([]*runtime.Event, 0, partEvents)
	}
	events, lost, news := f.s.a.host.feed.behind(f.place.Load(), f.part[:0])
	switch {
	case lost > 0:
		return f.catchUp(lost)
	case len(events) > 0:
		return f.tellAll(events, events[len(events)-1].Seq)
	}
	select {
	case <-news:
		return nil
	case <-f.ctx.Done():
		return f.ctx.Err()
	}
}

// tellAll tells what is asked for of all events up to a sequence.
func (f *follower) tellAll(events []*runtime.Event, upTo uint64) error {
	for i, e := range events {
		events[i] = nil // while it waits for credit it keeps nothing that is told
		if f.sel.takes(e) {
			if err := f.tell(f.happening(e)); err != nil {
				return err
			}
		}
		f.place.Store(e.Seq)
	}
	f.place.Store(upTo)
	return f.mark(upTo, markEvery)
}

// happening returns an event as the contract has it.
func (f *follower) happening(e *runtime.Event) *wire.Happening {
	if len(e.JSON) > maxHappening {
		return &wire.Happening{Id: f.idOf(e.Seq), Gap: &wire.Gap{From: e.Seq, To: e.Seq, Reason: sdk.GapTooLarge}}
	}
	return &wire.Happening{
		Id: f.idOf(e.Seq), Type: e.Type, EntityId: e.EntityID, Source: strings.ToValidUTF8(e.Source, "\uFFFD"),
		TimeUs: e.Time.UnixMicro(), Json: e.JSON,
	}
}

// idOf returns the id of a sequence, which is about to be told.
func (f *follower) idOf(seq uint64) string {
	f.told = seq
	b := make([]byte, 0, 32)
	b = append(b, f.s.a.host.Epoch...)
	b = append(b, '-')
	return string(strconv.AppendUint(b, seq, 10))
}

// tellGap tells of a gap. A follow may be resumed behind its end unless present
// states stand in for it.
func (f *follower) tellGap(g sdk.Gap, resumable bool) error {
	w := &wire.Happening{Gap: &wire.Gap{From: g.From, To: g.To, Reason: g.Reason}}
	if resumable {
		w.Id = f.idOf(g.To)
	}
	return f.tell(w)
}

// tell puts one into the message, once there is credit for it.
func (f *follower) tell(w *wire.Happening) error {
	if len(f.message) >= messageEvents || f.bytes+len(w.Json) > messageBytes {
		if err := f.flush(); err != nil {
			return err
		}
	}
	if !f.credited() {
		if err := f.flush(); err != nil {
			return err
		}
		if err := f.await(); err != nil {
			return err
		}
	}
	if g := w.Gap; g != nil {
		f.s.a.count(&f.s.a.stats.followGaps, "follow_"+g.Reason, 1)
		f.s.a.logGap(f.s.g.source, g)
	}
	f.mu.Lock()
	f.credit -= 1 + len(w.Json)/4096
	f.mu.Unlock()
	if w.Type != "" || w.Gap != nil { // no mark
		f.s.a.stats.followed.Add(1)
	}
	f.message = append(f.message, w)
	f.bytes += len(w.Json)
	return nil
}

func (f *follower) credited() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.credit > 0
}

// await waits for credit.
func (f *follower) await() error {
	for !f.credited() {
		select {
		case <-f.gave:
		case <-f.ctx.Done():
			return f.ctx.Err()
		}
	}
	return nil
}

// flush sends the message.
func (f *follower) flush() error {
	if len(f.message) == 0 {
		return nil
	}
	m := &wire.FromHost{Message: &wire.FromHost_Happenings{Happenings: &wire.Happenings{Follow: f.id, Happenings: f.message}}}
	f.message, f.bytes = nil, 0
	return f.s.out.hand(f.ctx, m)
}

// catchUp tells a part of what the feed does not hold any more, which ends at a
// sequence.
func (f *follower) catchUp(end uint64) error {
	if err := f.await(); err != nil { // it holds no part of the journal meanwhile
		return err
	}
	h, after := f.s.a.host, f.place.Load()
	first := end + 1
	if h.Replay != nil {
		first = h.First()
	}
	if first > after+1 {
		return f.lose(min(first-1, end))
	}
	events, upTo, err := f.read(after, end)
	if err == nil {
		return f.tellAll(events, upTo)
	}
	if f.ctx.Err() == nil && !errors.Is(err, runtime.ErrClosed) {
		h.complain(err)
	}
	select {
	case <-time.After(h.times.retry):
		return nil
	case <-f.ctx.Done():
		return f.ctx.Err()
	}
}

// lose tells that what is behind the place is not in the journal any more, up to a
// sequence.
func (f *follower) lose(to uint64) error {
	if f.snapshot {
		return f.present(sdk.GapAgedOut)
	}
	err := f.tellGap(sdk.Gap{From: f.place.Load() + 1, To: to, Reason: sdk.GapAgedOut}, true)
	f.place.Store(to)
	if err != nil {
		return err
	}
	return f.flush()
}

// read reads a part of the journal, from behind a sequence to another at most. Up to
// upTo there is nothing else that is asked for.
func (f *follower) read(after, end uint64) (events []*runtime.Event, upTo uint64, err error) {
	h := f.s.a.host
	bytes, whole := 0, true
	events, upTo = f.part[:0], after
	err = h.Replay(f.ctx, after, func(e *runtime.Event) bool {
		if e.Seq > end {
			return false
		}
		if e.Seq > upTo+1 && h.First() > upTo+1 { // retention was here meanwhile
			whole = false
			return false
		}
		upTo = e.Seq
		if f.sel.takes(e) {
			events = append(events, e)
			bytes += len(e.JSON)
		}
		whole = len(events) < partEvents && bytes < partBytes
		return whole && e.Seq < end && f.ctx.Err() == nil
	})
	if err == nil && whole && h.First() <= upTo+1 {
		upTo = end // what is missing up to there is no event
	}
	return events, upTo, err
}
