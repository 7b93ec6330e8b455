package adapter

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	"carillon/plugins/adapter/wire"
)

// following starts a Follow, whose batches are to be read from the channel.
func (th *testHost) following(h *Host, ctx context.Context, f Follow) (batches chan []Happening, ended chan error) {
	batches, ended = make(chan []Happening), make(chan error, 1)
	go func() {
		ended <- h.Follow(ctx, f, func(list []Happening) error {
			batches <- list
			return nil
		})
	}()
	return batches, ended
}

func (th *testHost) tell(follow uint64, list ...*wire.Happening) {
	th.down <- &wire.FromHost{Message: &wire.FromHost_Happenings{Happenings: &wire.Happenings{Follow: follow, Happenings: list}}}
}

func numbered(from, to int, bytes int) (list []*wire.Happening) {
	for n := from; n <= to; n++ {
		list = append(list, &wire.Happening{Id: fmt.Sprintf("e-%d", n), Type: "tick", TimeUs: int64(n), Json: make([]byte, bytes)})
	}
	return list
}

func TestFollowGivesCreditBackAsItIsTaken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, host := connect(t, &wire.Welcome{MaxFollows: 1})
		want := Follow{Selection: Selection{Types: []string{"tick", "a\xff"}, Entities: []string{"light.*"}}, After: "e-7", Snapshot: true, Own: true}
		batches, _ := host.following(h, t.Context(), want)
		w := host.next().GetFollow()
		if w.GetId() != 1 || w.Credit != followCredit || w.After != "e-7" || !w.Snapshot || !w.Own || !slices.Equal(w.Types, []string{"tick", "a�"}) || !slices.Equal(w.Entities, []string{"light.*"}) {
			t.Fatalf("got %v, want what was asked for", w)
		}
		host.tell(1, numbered(1, 100, 100)...)
		host.tell(1, numbered(101, 102, 8192)...) // these take three each
		synctest.Wait()
		first := <-batches
		host.tell(1, &wire.Happening{Id: "e-103", Gap: &wire.Gap{From: 103, To: 103, Reason: GapTooLarge}})
		host.tell(1, numbered(104, 120, 100)...)
		synctest.Wait()
		if m := host.next(); m != nil {
			t.Errorf("got %v before enough was taken, want nothing", m)
		}
		all := first
		for len(all) < 120 {
			all = append(all, <-batches...)
		}
		for i, one := range all {
			if one.ID != fmt.Sprintf("e-%d", i+1) || (one.Gap != nil) != (i == 102) || one.Gap == nil && one.Time.UnixMicro() != int64(i+1) {
				t.Fatalf("happening %d: got %+v", i, one)
			}
		}
		if len(all) != 120 || *all[102].Gap != (Gap{103, 103, GapTooLarge}) {
			t.Errorf("got %d happenings, and the gap %+v", len(all), all[102].Gap)
		}
		host.tell(1, numbered(121, 130, 100)...)
		<-batches
		host.tell(1, numbered(131, 131, 100)...) // the call before has returned
		<-batches
		if c := host.next().GetFollowCredit(); c.GetFollow() != 1 || c.Credit != 134 {
			t.Errorf("got %v, want the credit for what was taken", c)
		}
	})
}

func TestFollowEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, host := connect(t, &wire.Welcome{MaxFollows: 2})
		run, drain := context.WithCancelCause(t.Context())
		_, ended := host.following(h, run, Follow{})
		host.next()
		wrong := errors.New("the broker is gone")
		failed := make(chan error, 1)
		go func() {
			failed <- h.Follow(t.Context(), Follow{}, func([]Happening) error { return wrong })
		}()
		if id := host.next().GetFollow().GetId(); id != 2 {
			t.Fatalf("got follow %d, want 2", id)
		}
		if err := h.Follow(t.Context(), Follow{}, nil); err == nil || !strings.Contains(err.Error(), "2 follows already") {
			t.Errorf("got %v, want that there are enough", err)
		}
		host.tell(2, numbered(1, 1, 0)...)
		if err := <-failed; err != wrong {
			t.Errorf("got %v, want the error of fn", err)
		}
		if id := host.next().GetUnfollow().GetFollow(); id != 2 {
			t.Errorf("got the end of %d, want 2", id)
		}
		host.tell(2, numbered(2, 2, 0)...) // was on its way
		drain(ErrDraining)
		if err := <-ended; err != context.Canceled {
			t.Errorf("got %v when the drain began, want the context's error", err)
		}
		if id := host.next().GetUnfollow().GetFollow(); id != 1 {
			t.Errorf("got the end of %d, want 1", id)
		}
		_, ended = host.following(h, t.Context(), Follow{After: "?"})
		host.next()
		host.down <- &wire.FromHost{Message: &wire.FromHost_Happenings{Happenings: &wire.Happenings{Follow: 3, Error: "no id"}}}
		if err := <-ended; err == nil || !strings.Contains(err.Error(), "no id") {
			t.Errorf("got %v, want why it is refused", err)
		}
		if m := host.next(); m != nil {
			t.Errorf("got %v for a follow that the host has ended, want nothing", m)
		}
		_, ended = host.following(h, t.Context(), Follow{})
		host.next()
		close(host.down)
		if err := <-ended; !errors.Is(err, ErrHostGone) {
			t.Errorf("got %v, want %v", err, ErrHostGone)
		}
		if err := h.Follow(t.Context(), Follow{}, nil); !errors.Is(err, ErrHostGone) {
			t.Errorf("got %v behind the end, want %v", err, ErrHostGone)
		}
	})
}

func TestHostsThatCannotBeFollowed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, host := connect(t, &wire.Welcome{})
		if err := h.Follow(t.Context(), Follow{}, nil); err != ErrNoEvents {
			t.Errorf("got %v, want %v", err, ErrNoEvents)
		}
		if m := host.next(); m != nil {
			t.Errorf("got %v, want nothing: an older host ends a session for it", m)
		}
		h, host = connect(t, &wire.Welcome{MaxFollows: 1})
		batches, ended := host.following(h, t.Context(), Follow{})
		host.next()
		host.tell(1, numbered(1, 1, 4096*followCredit)...) // the last may take more
		host.tell(1, numbered(2, 2, 0)...)
		synctest.Wait()
		<-batches
		if err := <-ended; err == nil || !strings.Contains(err.Error(), "more of follow 1 than it has credit for") {
			t.Errorf("got %v, want that the host sends too much", err)
		}
	})
}
