package adapter

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	goruntime "runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"carillon/plugins/adapter/wire"
)

func (th *testHost) result() *wire.Result {
	th.t.Helper()
	m := th.next()
	if m.GetResult() == nil {
		th.t.Fatalf("got %v, want a result", m)
	}
	return m.GetResult()
}

// pick takes the first message that is wanted out of those that were sent.
func (th *testHost) pick(want func(*wire.FromAdapter) bool) (picked *wire.FromAdapter) {
	synctest.Wait()
	for range len(th.up) {
		if m := <-th.up; picked == nil && want(m) {
			picked = m
		} else {
			th.up <- m
		}
	}
	return picked
}

func TestResultComesBehindItsStates(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, host := connect(t, &wire.Welcome{Credit: 100})
		h.OnCommand(func(ctx context.Context, c Command) (any, error) {
			return map[string]string{"did": c.Service}, h.Set(ctx, State{EntityID: c.EntityID, State: "on"})
		})
		must(t, h.Declare(t.Context(), bulb("light.a")))
		host.batch()
		for range maxFlying - 1 {
			must(t, h.Set(t.Context(), State{EntityID: "light.a", State: "x"}))
			host.batch()
		}
		must(t, h.Set(t.Context(), State{EntityID: "light.a", State: "x"})) // it waits for an acknowledgement
		host.command(7, "light.a", "turn_on", time.Second)
		b := host.batch()
		last := b.Items[len(b.Items)-1]
		if len(b.Items) != 2 || last.GetState().State != "on" || last.ContextId != "c7" || b.Items[0].ContextId != "" {
			t.Errorf("got %v, want the waiting state and the command's with its context", b)
		}
		if r := host.result(); r.Id != 7 || r.Error != "" || r.Response != `{"did":"turn_on"}` {
			t.Errorf("got %v", r)
		}
	})
}

func TestCommandsOfAnEntityComeOneAfterAnother(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, host := connect(t, &wire.Welcome{Credit: 100})
		h.OnCommand(func(_ context.Context, c Command) (any, error) {
			<-time.After(time.Duration(10-c.ID) * time.Second)
			return c.ID, nil
		})
		h.commands.declare("light.a", []string{"x"})
		h.commands.declare("light.b", []string{"x"})
		host.command(1, "light.a", "x", time.Minute) // until 9 s
		host.command(2, "light.a", "x", time.Minute) // from 9 to 17 s
		host.command(3, "light.b", "x", time.Minute) // until 7 s
		host.command(4, "light.a", "x", time.Second) // never begins
		var order []uint64
		for range 4 {
			for len(host.up) == 0 {
				<-time.After(time.Second)
				synctest.Wait()
			}
			r := host.result()
			if (r.Error != "") != (r.Id == 4) {
				t.Errorf("got %v", r)
			}
			order = append(order, r.Id)
		}
		if fmt.Sprint(order) != "[4 3 1 2]" {
			t.Errorf("got the order %v, want [4 3 1 2]", order)
		}
	})
}

func TestEachCommandIsAnswered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, host := connect(t, &wire.Welcome{Credit: 100, MaxMessageBytes: 1000})
		host.command(1, "light.a", "x", time.Second)
		if r := host.result(); !strings.Contains(r.Error, "takes no commands") {
			t.Errorf("without a handler: got %v", r)
		}
		never := make(chan struct{})
		defer close(never)
		h.OnCommand(func(ctx context.Context, c Command) (any, error) {
			switch c.Service {
			case "fail":
				return nil, errors.New("the lamp is broken \xff")
			case "dim":
				return nil, fmt.Errorf("dimming: %w", &DataError{errors.New("a lamp has no 300 %")})
			case "panic":
				panic("oops")
			case "hang":
				<-never
			case "large":
				return strings.Repeat("x", 2000), nil
			case "odd":
				return func() {}, nil
			case "wait":
				<-ctx.Done()
				return nil, ctx.Err()
			}
			return nil, nil
		})
		for i, test := range []struct{ service, want string }{
			{"fine", ""}, {"fail", "the lamp is broken �"}, {"dim", "no 300 %"}, {"panic", "panicked: oops"}, {"hang", "in time"}, {"wait", ""},
			{"large", "don't fit"}, {"odd", "no JSON"},
		} {
			id := uint64(i + 2)
			h.commands.declare(fmt.Sprint("light.", id), []string{test.service})
			host.command(id, fmt.Sprint("light.", id), test.service, 100*time.Millisecond)
			<-time.After(time.Second)
			if test.service == "panic" { // the line and the result have no order
				if l := host.pick(func(m *wire.FromAdapter) bool { return m.GetLog() != nil }); !strings.Contains(l.GetLog().Fields["stack"], "command_test.go") {
					t.Errorf("got %v, want the panic's stack", l)
				}
			}
			r := host.result()
			if r.Id != id || !strings.Contains(r.Error, test.want) || (test.service == "fine" && r.Error != "") {
				t.Errorf("%s: got %v, want an error that says %q", test.service, r, test.want)
			}
			if want := test.service == "dim"; r.Invalid != want {
				t.Errorf("%s: got invalid %v, want %v", test.service, r.Invalid, want)
			}
		}
	})
}

// A handler that hangs costs its entity's commands and one goroutine, however many come.
func TestHandlerThatHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, host := connect(t, &wire.Welcome{Credit: 100})
		stuck := make(chan struct{})
		var begun []uint64
		h.OnCommand(func(_ context.Context, c Command) (any, error) {
			if c.EntityID == "light.a" {
				begun = append(begun, c.ID)
				<-stuck
			}
			return nil, nil
		})
		must(t, h.Declare(t.Context(), bulb("light.a", "light.b")))
		host.batch()
		const commands = maxCommands + 100
		const few = 10 // other tests' goroutines may come and go meanwhile
		before := goruntime.NumGoroutine()
		for id := range uint64(commands) {
			host.command(id+1, "light.a", "turn_on", time.Millisecond)
			synctest.Wait()
			<-time.After(2 * time.Millisecond)
			if r := host.result(); r.Id != id+1 || !strings.Contains(r.Error, "in time") {
				t.Fatalf("command %d behind a handler that hangs: got %v, want that it was not done in time", id+1, r)
			}
		}
		if n := goruntime.NumGoroutine() - before; n > few {
			t.Errorf("after %d commands: got %d goroutines more, want 1 or so", commands, n)
		}
		host.command(commands+1, "light.b", "turn_on", time.Second)
		if r := host.result(); r.Error != "" {
			t.Errorf("another entity's command: got %v, want that it is done", r)
		}
		host.command(commands+2, "light.a", "turn_on", time.Second)
		synctest.Wait()
		close(stuck)
		if r := host.result(); r.Id != commands+2 || r.Error != "" || fmt.Sprint(begun) != fmt.Sprint([]uint64{1, commands + 2}) {
			t.Errorf("when it ends: got %v, and handled were %v, want the first command and the one that waits", r, begun)
		}
	})
}

// Handlers of so many entities hang that there may be no more.
func TestHandlersThatHangAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, host := connect(t, &wire.Welcome{Credit: 100})
		stuck := make(chan struct{})
		h.OnCommand(func(context.Context, Command) (any, error) { <-stuck; return nil, nil })
		for i := range maxCommands + 1 {
			h.commands.declare(fmt.Sprint("light.", i), []string{"turn_on"})
		}
		ask := func(i int) *wire.Result {
			host.command(uint64(i), fmt.Sprint("light.", i), "turn_on", time.Millisecond)
			synctest.Wait()
			<-time.After(2 * time.Millisecond)
			return host.result()
		}
		for i := range maxCommands {
			if r := ask(i); !strings.Contains(r.Error, "in time") {
				t.Fatalf("command %d: got %v, want that it was not done in time", i, r)
			}
		}
		if r := ask(maxCommands); !strings.Contains(r.Error, "under way already") {
			t.Errorf("behind %d handlers that hang: got %v, want a refusal", maxCommands, r)
		}
		close(stuck)
		synctest.Wait()
		if r := ask(maxCommands); r.Error != "" {
			t.Errorf("when they have ended: got %v, want that it is done", r)
		}
	})
}

func TestCancelAndDrain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, host := connect(t, &wire.Welcome{Credit: 100})
		h.OnCommand(func(ctx context.Context, c Command) (any, error) {
			select {
			case <-ctx.Done():
			case <-time.After(5 * time.Second):
			}
			return nil, nil
		})
		must(t, h.Declare(t.Context(), Device{ID: "d", Entities: []Entity{{ID: "light.a", Services: []string{"x"}}, {ID: "light.b", Services: []string{"x"}}}}))
		host.batch()
		for id, entity := range map[uint64]string{10: "light.a", 11: "light.c"} {
			host.command(id, entity, "y", time.Minute)
			if r := host.result(); r.Id != id || r.Error != entity+" takes no y" {
				t.Errorf("got %v, want a refusal of what was not declared", r)
			}
		}
		host.command(1, "light.a", "x", time.Minute)
		host.command(2, "light.b", "x", time.Minute)
		synctest.Wait()
		host.down <- &wire.FromHost{Message: &wire.FromHost_Cancel{Cancel: &wire.Cancel{Id: 1}}}
		if r := host.result(); r.Id != 1 {
			t.Errorf("got %v, want the result of the cancelled one", r)
		}
		began := time.Now()
		must(t, h.commands.drain(t.Context()))
		if took := time.Since(began); took != 5*time.Second {
			t.Errorf("the drain took %v, want the 5 s of the command under way", took)
		}
		host.command(3, "light.a", "x", time.Minute)
		if r := host.result(); r.Id != 2 || r.Error != "" {
			t.Errorf("got %v, want the result of the one under way", r)
		}
		if r := host.result(); r.Id != 3 || !strings.Contains(r.Error, "draining") {
			t.Errorf("got %v, want a refusal", r)
		}
	})
}

func TestLogs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, host := connect(t, &wire.Welcome{})
		log := h.Log().With("device", "plug").WithGroup("radio")
		log.Warn("weak \xff", "rssi", -90, slog.Group("at", "x", 1), "text", strings.Repeat("x", maxLogText+1))
		l := host.next().GetLog()
		if l.GetLevel() != wire.Log_WARN || l.Message != "weak �" || l.Fields["device"] != "plug" || l.Fields["radio.rssi"] != "-90" || l.Fields["radio.at.x"] != "1" {
			t.Errorf("got %v", l)
		}
		if text := l.Fields["radio.text"]; !strings.HasSuffix(text, "… (cut)") || len(text) > maxLogText+20 {
			t.Errorf("a field of %d bytes was not cut", len(text))
		}
		// A host that doesn't take lines costs lines, and that is told.
		for cap(host.up) > len(host.up) {
			host.up <- nil
		}
		h.Log().Info("stuck in sending")
		synctest.Wait()
		for i := range maxLogs + 50 {
			h.Log().Info(fmt.Sprint(i))
		}
		lines, dropped := 0, ""
		for m := range host.up {
			if m.GetLog().GetFields()["lines"] != "" {
				dropped = m.GetLog().Fields["lines"]
				break
			}
			if m != nil {
				lines++
			}
		}
		if lines != maxLogs+1 || dropped != "50" {
			t.Errorf("got %d lines and %s dropped, want %d and 50", lines, dropped, maxLogs+1)
		}
	})
}
