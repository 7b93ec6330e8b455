package scripts

import (
	"errors"
	"strings"
	"testing"

	"carillon/runtime"
)

func TestContextsTellTheStory(t *testing.T) {
	b := newBench(t, "a.js", `
		const d = device('light.a', {commands: {
			async turn_on() { emit('in_command'); await null; d.set('on'); },
		}});
		on('cause', async () => {
			emit('effect1');
			await null;
			emit('effect2');
			await call('light.turn_on', {entity_id: 'light.a'});
			emit('effect3');
		});
		on('cause', () => emit('other'));
		let wake;
		on('cause', async () => { emit('asleep'); await new Promise(resolve => { wake = resolve; }); emit('awake'); });
		on('alarm', () => { wake(); emit('alarmed'); });
		after(10, () => { emit('timer'); emit('timer'); });
		emit('top');
		d.set('off');
	`)
	b.fire("cause", "")
	cause := b.next("cause", 1).Context()
	story := b.next("effect1", 1).Context()
	if story.ParentID != cause.ID || story.ID == cause.ID {
		t.Errorf("a handler's event: got context %+v, want a new one below %s", story, cause.ID)
	}
	for _, typ := range []string{"effect2", "effect3", "in_command", runtime.ServiceCalled, runtime.CommandResult} {
		if got := b.next(typ, 1).Context(); got != story {
			t.Errorf("%s: got context %+v, want the handler's %+v", typ, got, story)
		}
	}
	if got := b.rt.State("light.a").Context; got != story {
		t.Errorf("the state that the command set: got context %+v, want %+v", got, story)
	}
	if got := b.next("other", 1).Context(); got.ParentID != cause.ID || got.ID == story.ID {
		t.Errorf("the other handler: got context %+v, want one of its own below %s", got, cause.ID)
	}
	b.fire("alarm", "")
	asleep, awake, alarmed := b.next("asleep", 1).Context(), b.next("awake", 1).Context(), b.next("alarmed", 1).Context()
	if awake != asleep || alarmed == awake {
		t.Errorf("what follows an await that another handler ended: got context %+v, want %+v, not the other's %+v", awake, asleep, alarmed)
	}
	first, second := b.next("timer", 1).Context(), b.next("timer", 2).Context()
	if first.ParentID != "" || first != second {
		t.Errorf("a timer: got contexts %+v and %+v, want one, without a parent", first, second)
	}
	result, err := b.call("light.turn_on", `{"entity_id":"light.a"}`)
	if err != nil || len(result.Changed) != 0 {
		t.Errorf("a command that changes nothing: got %v and %v, want no state", result.Changed, err)
	}
	if e := b.next("in_command", 2); e.Context() != result.Context || e.Source != "a.js@1" {
		t.Errorf("an event in a command: got %+v by %s, want %+v by a.js@1", e.Context(), e.Source, result.Context)
	}
}

// A script that is busy while more comes than its mailbox holds is told what it
// missed, and the runtime does not wait for it.
func TestOverrunIsTold(t *testing.T) {
	b := prepare(t, "a.js", `
		let n = 0;
		on('tick', () => { n++; });
		on('block', () => { emit('blocked'); for (let t = Date.now(); Date.now() - t < 1e6;) Math.random(); });
		on('count', e => emit('counted', {n}));
	`)
	b.host.Limits.Handler = 3e9
	b.start()
	b.await("the host is ready", func() bool { return closed(b.host.Ready()) })
	b.fire("block", "")
	b.next("blocked", 1)
	const extra = 1000
	batch := make([]runtime.NewEvent, 1024)
	for i := range batch {
		batch[i] = runtime.NewEvent{Type: "tick", Source: "test"}
	}
	for left := mailboxDepth + extra; left > 0; left -= len(batch) {
		if _, err := b.rt.Fire(t.Context(), batch[:min(left, len(batch))]...); err != nil {
			t.Fatal(err)
		}
	}
	if len(b.find(ScriptError)) > 0 {
		t.Skip("the machine is too busy: the handler was interrupted before all events were made")
	}
	e := b.next(ScriptOverrun, 1)
	if got := field(e, "missed"); got != "1000" || field(e, "script") != "a.js" {
		t.Errorf("overrun: got %s, want 1000 missed by a.js", e.Data())
	}
	ticks := b.find("tick")
	if from, to := field(e, "from"), field(e, "to"); from != text(ticks[mailboxDepth].Seq) || to != text(ticks[len(ticks)-1].Seq) {
		t.Errorf("overrun: got %s to %s, want %d to %d", from, to, ticks[mailboxDepth].Seq, ticks[len(ticks)-1].Seq)
	}
	b.next(ScriptError, 1) // the blocking handler is interrupted
	b.await("the queue is empty", func() bool { return b.status("a.js").Handled >= mailboxDepth })
	b.fire("count", "")
	if got := field(b.next("counted", 1), "n"); got != text(mailboxDepth) {
		t.Errorf("handled: got %s, want %d", got, mailboxDepth)
	}
	if got := b.status("a.js").Missed; got != extra {
		t.Errorf("status: got %d missed, want %d", got, extra)
	}
}

func TestErrorsAreRateLimited(t *testing.T) {
	b := newBench(t, "a.js", `on('boom', () => { throw new Error('x'); });`)
	for range 200 {
		b.fire("boom", "")
	}
	b.await("all have failed", func() bool { return b.status("a.js").Errors == 200 })
	b.await("ten are told", func() bool { return len(b.find(ScriptError)) >= 10 })
	if got := len(b.find(ScriptError)); got > 30 {
		t.Errorf("events for 200 errors at once: got %d, want 10 and one a second", got)
	}
}

// A machine that panics is taken out of service; the process and the other
// scripts go on.
func TestAMachineThatPanics(t *testing.T) {
	b := newBench(t, "a.js", `device('light.a').set('on');`, "b.js", `on('ping', () => emit('pong'));`)
	for _, g := range b.host.router.inService() {
		if g.script == "a.js" {
			g.box.put(job{resume: func() { g.run(&story{}, position{}, func() error { panic("out of order") }) }})
		}
	}
	b.wantState("light.a", runtime.Unavailable)
	b.await("the script is stopped", func() bool { return b.status("a.js").State == Stopped })
	if got := b.status("a.js").Error; got == nil || got.Message != "internal error: out of order" {
		t.Errorf("error: got %v, want internal error: out of order", got)
	}
	b.fire("ping", "")
	b.next("pong", 1)
	if st := b.load("a.js", `device('light.a').set('on'); // again`); st.State != Running {
		t.Errorf("after a save: got %+v, want running", st)
	}
}

// A script whose commands wait in vain does not fill up with them.
func TestCommandsNobodyAnswers(t *testing.T) {
	b := prepare(t, "a.js", `device('light.a', {commands: {wait: () => new Promise(() => {}), ping: () => 1}});`)
	b.start()
	b.await("the host is ready", func() bool { return closed(b.host.Ready()) })
	answer := b.host.handler("a.js")
	g := b.host.router.inService()[0]
	for range 3 {
		done := make(chan error, maxCommands)
		ctx, cancel := contextWithCancel(t)
		for range maxCommands {
			go func() {
				_, err := answer(ctx, &runtime.Command{Domain: "light", Service: "wait", EntityID: "light.a", Data: []byte("{}")})
				done <- err
			}()
		}
		b.await("all commands wait", func() bool {
			g.box.mu.Lock()
			defer g.box.mu.Unlock()
			return g.box.commands == maxCommands
		})
		if _, err := b.call("light.ping", `{"entity_id":"light.a"}`); err == nil {
			t.Error("one more command: got an answer, want that the script is busy")
		}
		cancel()
		for range maxCommands {
			if err := <-done; err == nil {
				t.Error("a command that nobody answers: got no error")
			}
		}
		b.mustCall("light.ping", `{"entity_id":"light.a"}`)
	}
}

func TestWrongDataIsTheCallersMistake(t *testing.T) {
	b := newBench(t, "a.js", `
device('light.a', {commands: {
  dim(data) { if (!(data.percent <= 100)) throw new RangeError('percent must be at most 100'); },
  async fade(data) { throw new RangeError('there is no such scene'); },
  async burn() { throw new TypeError('the bulb is broken'); },
}});
`)
	for _, test := range []struct {
		service, want string
		wrongData     bool
	}{
		{"dim", "percent must be at most 100", true}, {"fade", "there is no such scene", true}, {"burn", "the bulb is broken", false},
	} {
		_, err := b.call("light."+test.service, `{"entity_id":"light.a","percent":300}`)
		var data *runtime.DataError
		if err == nil || !strings.Contains(err.Error(), test.want) || errors.As(err, &data) != test.wrongData {
			t.Errorf("%s: got %v, want %q, wrong data %v", test.service, err, test.want, test.wrongData)
		}
	}
}
