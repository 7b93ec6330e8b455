package runtime_test

import (
	"errors"
	"fmt"
	"sync/atomic"
	"testing"

	"carillon/runtime"
	"carillon/runtime/runtimetest"
)

// What a Writer was given behind a refusal is never stored before it: neither
// when another writer wakes the journal up in between.
func TestWriterKeepsItsOrder(t *testing.T) {
	var refuse atomic.Bool
	j := &runtimetest.Journal{Fail: func(events []*runtime.Event) error {
		if refuse.Load() && events[0].Type == "a" {
			return errors.New("no room")
		}
		return nil
	}}
	rt, err := runtime.Open(t.Context(), j, runtime.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer rt.Close()
	w := rt.NewWriter()
	fire := func(n int) (*runtime.Pending, error) {
		return w.Fire(t.Context(), runtime.NewEvent{Type: "a", Data: fmt.Appendf(nil, `{"n":%d}`, n)})
	}
	for round := range 50 {
		refuse.Store(true)
		first, err := fire(2 * round)
		if err != nil {
			t.Fatal(err)
		}
		if <-first.Done(); first.Err() == nil {
			t.Fatal("the first: got no error, want the journal's")
		}
		refuse.Store(false)
		// The journal stores again once all that was under way is over.
		for err := runtime.ErrJournal; errors.Is(err, runtime.ErrJournal); {
			if _, err = rt.Fire(t.Context(), runtime.NewEvent{Type: "b"}); err != nil && !errors.Is(err, runtime.ErrJournal) {
				t.Fatal(err)
			}
		}
		if _, err := fire(2*round + 1); !errors.Is(err, runtime.ErrJournal) {
			t.Fatalf("the second: got %v, want %v", err, runtime.ErrJournal)
		}
		w.Reset()
		for n := range 2 {
			p, err := fire(2*round + n)
			if err != nil {
				t.Fatal(err)
			}
			if <-p.Done(); p.Err() != nil {
				t.Fatal(p.Err())
			}
		}
	}
	n := 0
	j.Read(t.Context(), 0, func(e *runtime.Event) bool {
		if e.Type == "a" {
			if want := fmt.Sprintf(`{"n":%d}`, n); string(e.Data()) != want {
				t.Errorf("got %s, want %s", e.Data(), want)
			}
			n++
		}
		return true
	})
	if n != 100 {
		t.Errorf("got %d events, want 100", n)
	}
}

func TestWriterSetsAndRemoves(t *testing.T) {
	rt, err := runtime.Open(t.Context(), &runtimetest.Journal{}, runtime.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer rt.Close()
	w := rt.NewWriter()
	var last *runtime.Pending
	for _, do := range []func() (*runtime.Pending, error){
		func() (*runtime.Pending, error) {
			return w.Set(t.Context(), runtime.Change{EntityID: "light.a", State: "on"}, runtime.Change{EntityID: "light.b", State: "on"})
		},
		func() (*runtime.Pending, error) {
			return w.Set(t.Context(), runtime.Change{EntityID: "light.a", State: "on"})
		},
		func() (*runtime.Pending, error) { return w.Remove(t.Context(), "light.b", runtime.Context{}, "x@1") },
		func() (*runtime.Pending, error) { return w.Remove(t.Context(), "light.b", runtime.Context{}, "x@1") },
		func() (*runtime.Pending, error) { return w.Fire(t.Context()) },
	} {
		if last, err = do(); err != nil {
			t.Fatal(err)
		}
	}
	<-last.Done()
	p, err := w.Set(t.Context(), runtime.Change{EntityID: "light.a", State: "off"})
	if err != nil {
		t.Fatal(err)
	}
	if <-p.Done(); p.Err() != nil || rt.State("light.a").State != "off" || rt.State("light.b") != nil {
		t.Errorf("got %v, light.a %+v, light.b %+v, want off and none", p.Err(), rt.State("light.a"), rt.State("light.b"))
	}
	var refused *runtime.EventError
	if _, err := w.Set(t.Context(), runtime.Change{EntityID: "light.a"}, runtime.Change{EntityID: "Light"}); !errors.As(err, &refused) || refused.Index != 1 {
		t.Errorf("a wrong id: got %v, want an error about change 1", err)
	}
}
