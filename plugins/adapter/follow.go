package adapter

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"carillon/plugins/adapter/wire"
)

// A Selection says which events are wanted: those that are in all of its lists. An
// empty list takes all. A * in a name stands for any characters, also for none. A list has
// at most 100 names of at most 255 bytes.
type Selection struct {
	Types    []string // "state_changed", "adapter_*"
	Domains  []string // "light"
	Entities []string // "light.hall", "sensor.*_temperature"
}

// A Follow says what Host.Follow is to tell.
type Follow struct {
	Selection

	// After is the ID of a happening, also of an earlier process: what is told is
	// behind it. Empty: what happens from now on.
	After string
	// Snapshot asks for the present states first. With After they are told only where
	// something behind it can't be: they stand in for it, behind the Gap.
	Snapshot bool
	// Own asks also for what this adapter did itself. An adapter that does outside
	// what it hears at home, and at home what it hears outside, would never end.
	Own bool
	// Marks asks also for marks, which have an ID alone: where to go on if nothing that
	// was asked for happened. One comes at the beginning, unless After says where that
	// is, and one behind 1,000 events or so that are not asked for.
	Marks bool
}

// A Happening is an event of the home.
type Happening struct {
	// ID, "<epoch>-<sequence>", is where to go on behind it. It is empty where going
	// on would leave something out: in present states but the last, and in a Gap that
	// present states follow. Who keeps the last ID that is not empty, misses nothing.
	ID       string
	Type     string // "state_changed"
	EntityID string // that it concerns; may be empty
	Source   string // who made it: "api", "hall.js@7", "mqtt@3"
	Time     time.Time
	JSON     json.RawMessage // as the journal has it: event_type, data, origin, time_fired and context, as Home Assistant writes them
	// Present says that it is no change but a state that is there already, of a
	// Snapshot: a state_changed without old_state. The last of them has an ID: entities
	// that were not named till then are not there.
	Present bool
	Gap     *Gap // if set, there is nothing else but ID: this is missing
	Mark    bool // there is nothing else but ID: nothing happened
}

// A Gap is what a Follow can't tell.
type Gap struct {
	From, To uint64 // sequences; From is 0 if After means nothing to this journal
	Reason   string // GapAgedOut, GapEpoch, GapAhead or GapTooLarge
}

// Reasons of gaps.
const (
	GapAgedOut  = "aged_out"  // the journal has let go of it
	GapEpoch    = "epoch"     // After is of another journal, or of this one before it lost its end
	GapAhead    = "ahead"     // After is ahead of the journal
	GapTooLarge = "too_large" // it doesn't fit into a message
)

// ErrNoEvents says that the host has no events to follow.
var ErrNoEvents = errors.New("the host has no events to follow")

// Follow calls fn with the events that f asks for, in the order of the journal, each
// once, in batches as they come; what can't be told is told as a Gap. What fn is given,
// /api/states agrees with. It returns when ctx ends, with its error (Run's does when the
// adapter is to drain); when fn fails, with its error; or when the host is gone.
//
// Fn may take its time: what waits for it is bounded (about 4 MiB), and what doesn't
// wait stays in the journal. It may keep what it is given. A session has 16 follows at
// once, and each should ask for no more than it needs.
func (h *Host) Follow(ctx context.Context, f Follow, fn func([]Happening) error) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-h.over:
		return h.reason()
	default:
	}
	me, err := h.follows.begin(f)
	if err != nil {
		return err
	}
	defer h.follows.end(me)
	for {
		came, err := me.take(ctx)
		if err != nil {
			return err
		}
		if err := fn(happenings(came)); err != nil {
			return err
		}
		h.follows.giveBack(me, came)
	}
}

// followCredit is what the host may send before fn has taken anything.
const followCredit = 1024

// worthTelling is how much credit is given back at once: the host needs not hear of
// each event.
const worthTelling = followCredit / 8

// cost is what a happening takes of the credit, as the contract has it.
func cost(w *wire.Happening) int { return 1 + len(w.Json)/4096 }

// follows are those of a session.
type follows struct {
	h *Host // static

	mu sync.Mutex
	// Guarded by mu.
	last uint64 // id
	byID map[uint64]*following
	out  []*wire.FromAdapter // to be sent; bounded, as follows and their credit are
}

// A following is one call of Host.Follow.
type following struct {
	h    *Host
	id   uint64
	news chan struct{} // depth 1

	// Guarded by follows.mu.
	came   []*wire.Happening
	err    error // the host refuses it
	credit int   // that the host has
	owed   int   // that it does not know of yet
}

func (s *follows) init(h *Host) {
	s.h = h
	s.byID = map[uint64]*following{}
}

func (s *follows) begin(f Follow) (*following, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch most := int(s.h.welcome.MaxFollows); {
	case most == 0:
		return nil, ErrNoEvents
	case len(s.byID) >= most:
		return nil, fmt.Errorf("the adapter has %d follows already", most)
	}
	s.last++
	me := &following{h: s.h, id: s.last, news: make(chan struct{}, 1), credit: followCredit}
	s.byID[me.id] = me
	s.put(&wire.FromAdapter{Message: &wire.FromAdapter_Follow{Follow: &wire.Follow{
		Id: me.id, Types: all(f.Types), Domains: all(f.Domains), Entities: all(f.Entities),
		After: valid(f.After), Snapshot: f.Snapshot, Own: f.Own, Marks: f.Marks, Credit: followCredit,
	}}})
	return me, nil
}

func all(names []string) []string {
	names = slices.Clone(names)
	for i := range names {
		names[i] = valid(names[i])
	}
	return names
}

// end tells the host that nothing more is wanted.
func (s *follows) end(me *following) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.byID, me.id)
	if me.err == nil {
		s.put(&wire.FromAdapter{Message: &wire.FromAdapter_Unfollow{Unfollow: &wire.Unfollow{Follow: me.id}}})
	}
}

// put queues a message. Callers hold mu.
func (s *follows) put(m *wire.FromAdapter) {
	s.out = append(s.out, m)
	notify(s.h.wake)
}

// next returns what is to be sent, or nil.
func (s *follows) next() *wire.FromAdapter {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.out) == 0 {
		s.out = nil
		return nil
	}
	m := s.out[0]
	s.out = s.out[1:]
	return m
}

// arrived takes what the host sends.
func (s *follows) arrived(w *wire.Happenings) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	me := s.byID[w.Follow]
	if me == nil {
		return nil // it has ended meanwhile
	}
	if w.Error != "" {
		me.err = fmt.Errorf("the host refuses it: %s", w.Error)
	}
	for _, one := range w.Happenings {
		if me.credit <= 0 {
			return fmt.Errorf("the host sends more of follow %d than it has credit for", me.id)
		}
		me.credit -= cost(one)
	}
	me.came = append(me.came, w.Happenings...)
	notify(me.news)
	return nil
}

// giveBack gives credit back for what was taken.
func (s *follows) giveBack(me *following, taken []*wire.Happening) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, one := range taken {
		me.owed += cost(one)
	}
	if me.owed < worthTelling {
		return
	}
	me.credit += me.owed
	s.put(&wire.FromAdapter{Message: &wire.FromAdapter_FollowCredit{FollowCredit: &wire.FollowCredit{Follow: me.id, Credit: uint32(me.owed)}}})
	me.owed = 0
}

// take waits for what comes next.
func (f *following) take(ctx context.Context) ([]*wire.Happening, error) {
	for {
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		f.h.follows.mu.Lock()
		came, err := f.came, f.err
		f.came = nil
		f.h.follows.mu.Unlock()
		if len(came) > 0 {
			return came, nil
		}
		if err != nil {
			return nil, err
		}
		select {
		case <-f.news:
		case <-ctx.Done():
		case <-f.h.over:
			return nil, f.h.reason()
		}
	}
}

// happenings returns what came as an adapter has it.
func happenings(came []*wire.Happening) []Happening {
	list := make([]Happening, len(came))
	for i, w := range came {
		list[i] = Happening{ID: w.Id, Type: w.Type, EntityID: w.EntityId, Source: w.Source, JSON: w.Json, Present: w.Present}
		switch {
		case w.Gap != nil:
			list[i].Gap = &Gap{w.Gap.From, w.Gap.To, w.Gap.Reason}
		case w.Type == "" && !w.Present:
			list[i].Mark = true
		default:
			list[i].Time = time.UnixMicro(w.TimeUs).UTC()
		}
	}
	return list
}
