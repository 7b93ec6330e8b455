package plugins

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"

	sdk "carillon/plugins/adapter"
	"carillon/plugins/adapter/wire"
	"carillon/runtime"
)

const (
	// MaxFollows is how many follows an adapter may have at once.
	MaxFollows = 16

	// maxFollowCredit bounds what may be on its way in a follow: 65,536 events, or 256 MiB.
	maxFollowCredit = 1 << 16
	// maxNames and maxName bound a list of a selection: its names, and their bytes.
	maxNames, maxName = 100, 255
)

// A selection says which events a follow asks for.
type selection struct {
	types, domains, entities []string
	own                      string // the adapter whose own doings are left out; empty: none
}

func (s *selection) check() error {
	for _, list := range [][]string{s.types, s.domains, s.entities} {
		if len(list) > maxNames {
			return fmt.Errorf("a list of a selection has %d names, more than %d", len(list), maxNames)
		}
		for _, name := range list {
			if len(name) > maxName {
				return fmt.Errorf("a name in a selection has %d bytes, more than %d", len(name), maxName)
			}
		}
	}
	return nil
}

// takes reports whether an event is asked for.
func (s *selection) takes(e *runtime.Event) bool {
	return s.matches(e.Type, e.Domain, e.EntityID) && !s.isOwn(e)
}

func (s *selection) matches(typ, domain, entity string) bool {
	return sdk.Matches(s.types, typ) && sdk.Matches(s.domains, domain) && sdk.Matches(s.entities, entity)
}

// isOwn reports whether the adapter made the event, or it tells of the adapter. A
// line of its log about an event would else be the next event.
func (s *selection) isOwn(e *runtime.Event) bool {
	rest, ok := strings.CutPrefix(e.Source, s.own)
	return s.own != "" && ok && (strings.HasPrefix(rest, "@") || rest == "" && strings.HasPrefix(e.Type, "adapter_"))
}

// follows are those of a session.
type follows struct {
	last uint64 // id; owned by receive

	mu   sync.Mutex
	byID map[uint64]*follower // guarded by mu
}

// takeFollow begins a follow. It returns how the adapter broke the contract.
func (s *session) takeFollow(w *wire.Follow) *failure {
	if w.Id != s.follows.last+1 {
		return failed(ReasonContract, "follow %d came behind follow %d: they are numbered from 1, by one more each", w.Id, s.follows.last)
	}
	s.follows.last = w.Id
	sel := selection{types: w.Types, domains: w.Domains, entities: w.Entities}
	if !w.Own {
		sel.own = s.a.name
	}
	err := sel.check()
	var from place
	if s.deaf {
		err = fmt.Errorf("the configuration does not let it hear events: to allow that, set plugins.%s.events to true", s.a.name)
	}
	if err == nil {
		from, err = parsePlace(w.After)
	}
	if err != nil {
		if !s.out.put(&wire.FromHost{Message: &wire.FromHost_Happenings{Happenings: &wire.Happenings{Follow: w.Id, Error: err.Error()}}}) {
			return failed(ReasonHang, "it doesn't read what is sent to it")
		}
		return nil
	}
	f := &follower{s: s, id: w.Id, sel: sel, from: from, snapshot: w.Snapshot, marks: w.Marks, gave: make(chan struct{}, 1), ended: make(chan struct{})}
	f.ctx, f.stop = context.WithCancel(s.ctx)
	f.give(w.Credit)
	s.follows.mu.Lock()
	defer s.follows.mu.Unlock()
	if len(s.follows.byID) >= MaxFollows {
		return failed(ReasonContract, "it has more than %d follows at once", MaxFollows)
	}
	if s.follows.byID == nil {
		s.follows.byID = map[uint64]*follower{}
	}
	s.follows.byID[w.Id] = f
	s.done.Go(f.run)
	return nil
}

func (s *session) takeFollowCredit(w *wire.FollowCredit) {
	s.follows.mu.Lock()
	f := s.follows.byID[w.GetFollow()]
	s.follows.mu.Unlock()
	if f != nil {
		f.give(w.GetCredit())
	}
}

// takeUnfollow ends a follow, and waits for it: it is soon, and so there are never
// more than MaxFollows.
func (s *session) takeUnfollow(w *wire.Unfollow) {
	s.follows.mu.Lock()
	f := s.follows.byID[w.GetFollow()]
	s.follows.mu.Unlock()
	if f == nil {
		return
	}
	f.stop()
	<-f.ended
	s.follows.mu.Lock()
	defer s.follows.mu.Unlock()
	delete(s.follows.byID, f.id)
}

// lag returns how many follows there are, and how far the last of them is behind.
func (s *session) lag() (follows int, behind uint64) {
	if s.ctx.Err() != nil {
		return 0, 0
	}
	head := s.a.host.Runtime.Head()
	s.follows.mu.Lock()
	defer s.follows.mu.Unlock()
	for _, f := range s.follows.byID {
		if place := f.place.Load(); place < head {
			behind = max(behind, head-place)
		}
	}
	return len(s.follows.byID), behind
}

// A place is where a follow begins.
type place struct {
	epoch string // empty: from now on
	seq   uint64
}

// parsePlace reads <epoch>-<sequence>.
func parsePlace(id string) (place, error) {
	if id == "" {
		return place{}, nil
	}
	epoch, text, _ := strings.Cut(id, "-")
	seq, err := strconv.ParseUint(text, 10, 64)
	if err != nil || epoch == "" {
		return place{}, errors.New(strconv.Quote(id[:min(len(id), 100)]) + " is no id of an event: it is <epoch>-<sequence>")
	}
	return place{epoch, seq}, nil
}
