package adapter

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"carillon/plugins/adapter/wire"
)

// pipe is a session's stream in memory; the test is the host.
type pipe struct {
	ctx  context.Context
	down chan *wire.FromHost
	up   chan *wire.FromAdapter
}

func (p *pipe) Context() context.Context { return p.ctx }

func (p *pipe) Send(m *wire.FromAdapter) error {
	select {
	case p.up <- m:
		return nil
	case <-p.ctx.Done():
		return p.ctx.Err()
	}
}

func (p *pipe) Recv() (*wire.FromHost, error) {
	select {
	case m, ok := <-p.down:
		if !ok {
			return nil, io.EOF
		}
		return m, nil
	case <-p.ctx.Done():
		return nil, p.ctx.Err()
	}
}

// host is the host's side.
type testHost struct {
	t *testing.T
	*pipe
}

// connect returns a Host and what is on its other side. It belongs into a synctest bubble.
func connect(t *testing.T, w *wire.Welcome) (*Host, *testHost) {
	ctx, cancel := context.WithCancel(t.Context())
	p := &pipe{ctx, make(chan *wire.FromHost, 100), make(chan *wire.FromAdapter, 1000)}
	h := newHost(p, w)
	go h.send()
	go h.receive()
	t.Cleanup(cancel)
	return h, &testHost{t, p}
}

// next returns what the adapter sent next; nil when it is silent.
func (th *testHost) next() *wire.FromAdapter {
	synctest.Wait()
	select {
	case m := <-th.up:
		return m
	default:
		return nil
	}
}

// batch returns the next message, which must be a batch.
func (th *testHost) batch() *wire.Batch {
	th.t.Helper()
	m := th.next()
	if m.GetBatch() == nil {
		th.t.Fatalf("got %v, want a batch", m)
	}
	return m.GetBatch()
}

func (th *testHost) ack(b *wire.Batch, errors ...*wire.ItemError) {
	th.down <- &wire.FromHost{Message: &wire.FromHost_Ack{Ack: &wire.Ack{Batch: b.Id, Credit: uint32(len(b.Items)), Errors: errors}}}
}

func (th *testHost) command(id uint64, entity, service string, timeout time.Duration) {
	th.down <- &wire.FromHost{Message: &wire.FromHost_Command{Command: &wire.Command{
		Id: id, EntityId: entity, Domain: "light", Service: service, Data: "{}", TimeoutMs: timeout.Milliseconds(), ContextId: fmt.Sprint("c", id),
	}}}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func bulb(ids ...string) Device {
	d := Device{ID: "d " + strings.Join(ids, " ")}
	for _, id := range ids {
		d.Entities = append(d.Entities, Entity{ID: id, Services: []string{"turn_on"}})
	}
	return d
}

func TestBatchesFormWhileOthersAreOnTheirWay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, host := connect(t, &wire.Welcome{Credit: 1000, MaxBatchItems: 100})
		must(t, h.Declare(t.Context(), bulb("light.a")))
		flying := []*wire.Batch{host.batch()}
		for len(flying) < maxFlying {
			must(t, h.Set(t.Context(), State{EntityID: "light.a", State: "x"}))
			flying = append(flying, host.batch())
		}
		for i := range worthABatch - 1 {
			must(t, h.Set(t.Context(), State{EntityID: "light.a", State: fmt.Sprint(i)}))
		}
		if m := host.next(); m != nil {
			t.Fatalf("got %v while %d batches are on their way, want silence", m, maxFlying)
		}
		host.ack(flying[0])
		b := host.batch()
		if len(b.Items) != worthABatch-1 || b.Id != maxFlying+1 {
			t.Errorf("got batch %d of %d, want %d of %d", b.Id, len(b.Items), maxFlying+1, worthABatch-1)
		}
		for i, item := range b.Items {
			if got := item.GetState().State; got != fmt.Sprint(i) {
				t.Fatalf("item %d: got %s", i, got)
			}
		}
		// What is worth a batch doesn't wait, but keeps to the host's bound.
		many := make([]State, 150)
		for i := range many {
			many[i] = State{EntityID: "light.a", State: "y"}
		}
		must(t, h.Set(t.Context(), many...))
		if b := host.batch(); len(b.Items) != 100 {
			t.Errorf("got a batch of %d, want 100", len(b.Items))
		}
	})
}

func TestPublishingWaitsForCredit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, host := connect(t, &wire.Welcome{Credit: 3})
		must(t, h.Declare(t.Context(), bulb("light.a")))
		host.ack(host.batch())
		var done atomic.Int32
		for range 2 { // what one call publishes stays together
			go func() {
				states := make([]State, 5)
				for i := range states {
					states[i] = State{EntityID: "light.a", State: fmt.Sprint(i)}
				}
				if err := h.Set(t.Context(), states...); err != nil {
					t.Error(err)
				}
				done.Add(1)
			}()
		}
		var got string
		for len(got) < 10 {
			var flying []*wire.Batch
			n := 0
			for m := host.next(); m != nil; m = host.next() {
				flying = append(flying, m.GetBatch())
				n += len(m.GetBatch().GetItems())
			}
			if n != min(3, 10-len(got)) {
				t.Fatalf("after %s: got %d items, and there is credit for 3", got, n)
			}
			for _, b := range flying {
				for _, item := range b.Items {
					got += item.GetState().State
				}
			}
			if n := done.Load(); n != int32(len(got)/5) {
				t.Errorf("after %s: %d calls are done", got, n)
			}
			for _, b := range flying {
				host.ack(b)
			}
		}
		if got != "0123401234" {
			t.Errorf("got %s", got)
		}
	})
}

func TestContextEndsTheWaitUnlessTheAdapterDrains(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, host := connect(t, &wire.Welcome{Credit: 1})
		must(t, h.Declare(t.Context(), bulb("light.a")))
		first := host.batch()
		short, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := h.Set(short, State{EntityID: "light.a", State: "late"}); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("set without credit: got %v, want the context's error", err)
		}
		run, drain := context.WithCancelCause(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- h.Set(run, State{EntityID: "light.a", State: "read"}) }()
		synctest.Wait()
		drain(ErrDraining)
		synctest.Wait()
		select {
		case err := <-ended:
			t.Fatalf("set ended with %v when the drain began", err)
		default:
		}
		host.ack(first)
		must(t, <-ended)
		second := host.batch()
		host.ack(second)
		synctest.Wait()
		must(t, h.Set(run, State{EntityID: "light.a", State: "last"}))
		third := host.batch()
		if got := second.Items[0].GetState().State + third.Items[0].GetState().State; got != "readlast" {
			t.Errorf("got %s", got)
		}
		close(host.down)
		synctest.Wait()
		if err := h.Set(run, State{EntityID: "light.a", State: "gone"}); !errors.Is(err, ErrHostGone) {
			t.Errorf("set without a host: got %v, want %v", err, ErrHostGone)
		}
	})
}

// What was given up before it was queued has not happened: the adapter can go on as before, and try again.
func TestDeclareGivenUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, host := connect(t, &wire.Welcome{Credit: 1})
		h.OnCommand(func(context.Context, Command) (any, error) { return nil, nil })
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		must(t, h.Declare(ctx, bulb("light.a")))
		first := host.batch()
		short, giveUp := context.WithTimeout(ctx, time.Second)
		defer giveUp()
		for _, d := range []Device{bulb("light.b"), {ID: "d light.a", Entities: []Entity{{ID: "light.c"}}}} {
			if err := h.Declare(short, d); !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("declaring %s without credit: got %v, want the context's error", d.ID, err)
			}
		}
		host.ack(first)
		synctest.Wait()
		for _, id := range []string{"light.b", "light.c"} {
			if err := h.Set(ctx, State{EntityID: id, State: "on"}); err == nil || !strings.Contains(err.Error(), "not declared") {
				t.Errorf("set of %s, which the host never heard of: got %v, want that it is not declared", id, err)
			}
		}
		must(t, h.Set(ctx, State{EntityID: "light.a", State: "on"}))
		host.ack(host.batch())
		host.command(1, "light.b", "turn_on", time.Second)
		if r := host.result(); r.Error != "light.b takes no turn_on" {
			t.Errorf("a command for light.b: got %v, want a refusal", r)
		}
		host.command(2, "light.a", "turn_on", time.Second)
		if r := host.result(); r.Error != "" {
			t.Errorf("a command for light.a: got %v, want none", r.Error)
		}
		must(t, h.Declare(ctx, bulb("light.b")))
		host.ack(host.batch())
		synctest.Wait()
		must(t, h.Set(ctx, State{EntityID: "light.b", State: "on"}))
	})
}

func TestRemoveGivenUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, host := connect(t, &wire.Welcome{Credit: 1})
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		must(t, h.Declare(ctx, bulb("light.a")))
		first := host.batch()
		short, giveUp := context.WithTimeout(ctx, time.Second)
		defer giveUp()
		for _, id := range []string{"light.a", "d light.a"} {
			if err := h.Remove(short, id); !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("removing %s without credit: got %v, want the context's error", id, err)
			}
		}
		host.ack(first)
		synctest.Wait()
		must(t, h.Set(ctx, State{EntityID: "light.a", State: "on"}))
		host.ack(host.batch())
		for _, id := range []string{"light.a", "d light.a"} {
			synctest.Wait()
			must(t, h.Remove(ctx, id))
			host.ack(host.batch())
		}
	})
}

func TestFlushTellsWhatWasRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, host := connect(t, &wire.Welcome{Credit: 10})
		must(t, h.Declare(t.Context(), bulb("light.a", "light.b")))
		must(t, h.Fire(t.Context(), "pressed", map[string]int{"times": 2}))
		flushed := make(chan error, 1)
		go func() { flushed <- h.Flush(t.Context()) }()
		for range 2 {
			b := host.batch()
			select {
			case err := <-flushed:
				t.Fatalf("flush ended with %v before all was stored", err)
			default:
			}
			var refused []*wire.ItemError
			if b.Items[0].GetDevice() != nil {
				refused = append(refused, &wire.ItemError{Item: 0, Message: "light.a belongs to hall.js"})
			}
			host.ack(b, refused...)
			if len(b.Items) == 2 {
				break
			}
		}
		err := <-flushed
		var refused *ItemErrors
		if !errors.As(err, &refused) || refused.Count != 1 || !strings.Contains(err.Error(), "device d light.a light.b: light.a belongs to hall.js") {
			t.Errorf("got %v, want what was refused", err)
		}
		must(t, h.Flush(t.Context())) // it is told once
	})
}

func TestWhatIsWrongIsRefusedAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, host := connect(t, &wire.Welcome{Credit: 100, MaxMessageBytes: 4096})
		ctx := t.Context()
		must(t, h.Declare(ctx, bulb("light.a")))
		host.ack(host.batch())
		for want, err := range map[string]error{
			"light.b was not declared":       h.Set(ctx, State{EntityID: "light.a"}, State{EntityID: "light.b"}),
			"longer than 255":                h.Set(ctx, State{EntityID: "light.a", State: strings.Repeat("x", 256)}),
			"no UTF-8":                       h.Set(ctx, State{EntityID: "light.a", State: "\xff"}),
			"attributes of light.a":          h.Set(ctx, State{EntityID: "light.a", Attributes: map[string]any{"x": func() {}}}),
			"don't fit":                      h.Set(ctx, State{EntityID: "light.a", Attributes: map[string]any{"x": strings.Repeat("x", 4096)}}),
			"is no event type":               h.Fire(ctx, "Pressed", nil),
			"must be an object":              h.Fire(ctx, "pressed", []int{1}),
			"is no entity id":                h.Declare(ctx, bulb("Light.A")),
			"a device has no id":             h.Declare(ctx, Device{}),
			"is of device d light.a already": h.Declare(ctx, bulb("light.c", "light.a")),
			"neither a device nor an entity": h.Remove(ctx, "light.c"),
		} {
			if err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("got %v, want an error that says %q", err, want)
			}
		}
		if m := host.next(); m != nil {
			t.Errorf("got %v, want nothing published", m)
		}
		must(t, h.Remove(ctx, "d light.a"))
		if err := h.Set(ctx, State{EntityID: "light.a"}); err == nil {
			t.Error("the state of a removed entity was taken")
		}
		must(t, h.Declare(ctx, bulb("light.c", "light.a")))
		must(t, h.Available(ctx, "light.a", false))
		var items []*wire.Item
		for m := host.next(); m != nil; m = host.next() {
			items = append(items, m.GetBatch().GetItems()...)
		}
		if len(items) != 3 || fmt.Sprint(items[2].GetAvailability().GetEntityIds()) != "[light.a]" {
			t.Errorf("got %v, want light.a to be unavailable", items)
		}
	})
}

func TestBeatsAndMetrics(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, host := connect(t, &wire.Welcome{}) // no credit at all
		h.Metric("Bad Name", 1)
		h.Metric("Bad Name", 2)
		for i := range maxMetrics + 5 {
			h.Metric(fmt.Sprintf("m%d", i), float64(i))
		}
		if m := host.next(); m.GetLog().GetFields()["metric"] != "Bad Name" {
			t.Errorf("got %v, want one line about the metric", m)
		}
		for number, wantMetrics := range []bool{true, false} {
			host.down <- &wire.FromHost{Message: &wire.FromHost_Beat{Beat: &wire.Beat{Number: uint64(number)}}}
			if m := host.next(); m.GetBeat() == nil || m.GetBeat().Number != uint64(number) {
				t.Errorf("got %v, want beat %d", m, number)
			}
			m := host.next()
			if n := len(m.GetMetrics().GetValues()); (n == maxMetrics) != wantMetrics || (m != nil) != wantMetrics {
				t.Errorf("beat %d: got %d metrics in %v", number, n, m != nil)
			}
			h.Metric("m1", 1) // as it was
		}
	})
}

// TestManyPublishers holds order, credit and completeness against a host that
// acknowledges when it likes, and refuses some.
func TestManyPublishers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const publishers, each, credit = 8, 400, 37
		h, host := connect(t, &wire.Welcome{Credit: credit, MaxBatchItems: 20})
		must(t, h.Declare(t.Context(), bulb("light.a")))
		host.ack(host.batch())
		var publishing sync.WaitGroup
		for p := range publishers {
			publishing.Go(func() {
				for i := 0; i < each; {
					var states []State
					for range min(1+rand.IntN(50), each-i) {
						states = append(states, State{EntityID: "light.a", State: fmt.Sprintf("%d %d", p, i)})
						i++
					}
					if err := h.Set(t.Context(), states...); err != nil {
						t.Error(err)
					}
				}
			})
		}
		var flying []*wire.Batch
		next, under, refused := [publishers]int{}, 0, 0
		for total := 0; total < publishers*each || len(flying) > 0; {
			m := host.next()
			if m == nil || rand.IntN(3) == 0 {
				for range min(len(flying), 1+rand.IntN(5)) {
					under -= len(flying[0].Items)
					var errors []*wire.ItemError
					if rand.IntN(4) == 0 {
						refused++
						errors = append(errors, &wire.ItemError{Item: uint32(len(flying[0].Items) - 1), Message: "no"})
					}
					host.ack(flying[0], errors...)
					flying = flying[1:]
				}
			}
			for _, item := range m.GetBatch().GetItems() {
				var p, i int
				if fmt.Sscan(item.GetState().State, &p, &i); i != next[p] {
					t.Fatalf("publisher %d: got %d, want %d", p, i, next[p])
				}
				next[p]++
				total++
				under++
			}
			if m != nil {
				flying = append(flying, m.GetBatch())
			}
			if under > credit {
				t.Fatalf("%d items are under way, and there was credit for %d", under, credit)
			}
		}
		publishing.Wait()
		var errs *ItemErrors
		if err := h.Flush(t.Context()); refused > 0 && (!errors.As(err, &errs) || errs.Count != refused || len(errs.First) != min(refused, maxItemErrors)) {
			t.Errorf("flush: got %v, want %d refusals", err, refused)
		}
	})
}
