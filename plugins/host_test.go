//go:build unix

package plugins

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"carillon/runtime"
)

func TestFromFolderToJournalAndBack(t *testing.T) {
	b := newBench(t, nil, "lamps", "version=1")
	<-b.host.Ready()
	b.awaitShown("light.lamp", "off")
	st := b.awaitState("lamps", Ready)
	if st.Generation != 1 || st.Version != "1" || st.PID == 0 || st.Entities != 1 || len(st.SHA256) != 64 {
		t.Errorf("status: got %+v", st)
	}
	r, err := b.call("turn_on", "light.lamp")
	if err != nil || string(r.Response) != `{"by":"1"}` || len(r.Changed) != 1 || r.Changed[0].State != "on" {
		t.Errorf("turn_on: got %+v, %v, want the response and light.lamp on", r, err)
	}
	if got := string(b.rt.State("light.lamp").Attributes); got != `{"friendly_name":"Lamp"}` {
		t.Errorf("attributes: got %s", got)
	}
	_, err = b.call("turn_off", "light.lamp")
	if data := (*runtime.DataError)(nil); !errors.As(err, &data) || !strings.Contains(err.Error(), "it can't be turned off") {
		t.Errorf("turn_off: got %v, want the adapter's error, of wrong data", err)
	}
	if got := b.status("lamps").Counters; got.Commands != 2 || got.Failures != 1 || got.Items != 3 {
		t.Errorf("counters: got %+v, want 2 commands, 1 failure, 3 items", got)
	}
	if got, want := b.story("light.lamp"), []string{"off", "on"}; !slices.Equal(got, want) {
		t.Errorf("states: got %v, want %v", got, want)
	}
	started := b.find(runtime.AdapterStarted)
	if len(started) != 1 || started[0].Source != "lamps@1" {
		t.Errorf("adapter_started: got %d, want one of lamps@1", len(started))
	}
	copies, err := filepath.Glob(filepath.Join(b.host.DataDir, st.SHA256))
	if err != nil || len(copies) != 1 {
		t.Errorf("copy of the executable: got %v, %v, want one named by its hash", copies, err)
	}
	b.stop()
	if alive(st.PID) {
		t.Errorf("process %d lives on after the host has ended", st.PID)
	}
	if got := b.shows("light.lamp"); got != "on" {
		t.Errorf("after the end of the server: got %q, want the state as it was", got)
	}
}

// An adapter whose executable is elsewhere belongs to what was there at the start.
func TestReadyWaitsForExecutablesElsewhere(t *testing.T) {
	program := filepath.Join(t.TempDir(), "program")
	if err := os.WriteFile(program, script(t, "version=1"), 0o755); err != nil {
		t.Fatal(err)
	}
	b := newBench(t, func(b *bench) {
		b.host.Adapters = map[string]AdapterConfig{"lamps": {Path: program}}
	})
	<-b.host.Ready()
	if got := b.status("lamps").State; got != Ready {
		t.Errorf("got %q, want it %s", got, Ready)
	}
}

func TestKilledAdapter(t *testing.T) {
	b := newBench(t, nil, "lamps", "version=1")
	st := b.awaitState("lamps", Ready)
	b.awaitShown("light.lamp", "off")
	killed := time.Now()
	if err := syscall.Kill(st.PID, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	b.await("it was noticed", func() bool { s := b.status("lamps"); return s.PID != st.PID })
	if took := time.Since(killed); took > 1500*time.Millisecond {
		t.Errorf("noticing it took %v", took)
	}
	b.await("the lamp was unavailable, and is back", func() bool {
		return slices.Equal(b.story("light.lamp"), []string{"off", "unavailable", "off"})
	})
	if st = b.awaitState("lamps", Ready); st.Generation != 2 || st.Restarts != 1 {
		t.Errorf("got generation %d, %d restarts, want 2, 1", st.Generation, st.Restarts)
	}
	if _, err := b.call("turn_on", "light.lamp"); err != nil {
		t.Errorf("turn_on: %v", err)
	}
	if got := b.failures(); !slices.Equal(got, []string{"exit"}) {
		t.Errorf("adapter_failed: got %v, want one for the exit", got)
	}
}

func TestFiveCrashes(t *testing.T) {
	b := newBench(t, nil, "lamps", "crash")
	st := b.awaitState("lamps", Failed)
	if st.Reason != ReasonCrashes || !strings.Contains(st.Error, "exit status 3") {
		t.Errorf("got %s: %s, want a crash loop with exit status 3", st.Reason, st.Error)
	}
	b.await("all five are told", func() bool { return len(b.failures()) == 5 })
	if _, err := b.call("turn_on", "light.lamp"); err == nil || !strings.Contains(err.Error(), "has failed") {
		t.Errorf("turn_on: got %v, want that it has failed", err)
	}
	if err := b.host.Restart("lamps"); err != nil {
		t.Fatal(err)
	}
	b.await("it is tried again when asked", func() bool { return b.status("lamps").Generation > 5 })
	b.put("lamps", "version=2")
	b.awaitState("lamps", Ready)
	b.awaitShown("light.lamp", "off")
}

func TestBackOff(t *testing.T) {
	for _, test := range []struct {
		crash    int
		min, max time.Duration
	}{
		{1, 400 * time.Millisecond, 600 * time.Millisecond},
		{2, 800 * time.Millisecond, 1200 * time.Millisecond},
		{7, 25600 * time.Millisecond, 38400 * time.Millisecond},
		{8, 48 * time.Second, time.Minute},
		{1000, 48 * time.Second, time.Minute},
	} {
		for _, chance := range []float64{0, 0.5, 0.999} {
			got := backOff(500*time.Millisecond, time.Minute, test.crash, chance)
			if got < test.min || got > test.max {
				t.Errorf("crash %d, chance %v: got %v, want %v to %v", test.crash, chance, got, test.min, test.max)
			}
		}
	}
}

// A stopped process answers nothing, and ends by SIGKILL only.
func TestStoppedAdapter(t *testing.T) {
	b := newBench(t, func(b *bench) { b.host.times.hang = 200 * time.Millisecond }, "lamps", "version=1", "others", "version=1")
	st := b.awaitState("lamps", Ready)
	b.awaitState("others", Ready)
	if err := syscall.Kill(st.PID, syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	b.await("the hang was noticed", func() bool { return slices.Contains(b.failures(), "hang") })
	b.await("it is back", func() bool { s := b.status("lamps"); return s.State == Ready && s.PID != st.PID })
	if alive(st.PID) {
		t.Errorf("process %d is still there", st.PID)
	}
	if got := b.status("others"); got.Restarts != 0 {
		t.Errorf("the other adapter was restarted %d times", got.Restarts)
	}
	// The end of the server does not wait for one either.
	if err := syscall.Kill(b.status("lamps").PID, syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	b.stop()
	if took := time.Since(began); took > 15*time.Second {
		t.Errorf("stopping took %v", took)
	}
}

func TestDisableDrainEnable(t *testing.T) {
	b := newBench(t, nil, "lamps", "version=1")
	st := b.awaitState("lamps", Ready)
	for _, stop := range []struct {
		how  func(string) error
		want Reason
	}{{b.host.Disable, ReasonDisabled}, {b.host.Drain, ReasonDrained}} {
		if err := stop.how("lamps"); err != nil {
			t.Fatal(err)
		}
		if got := b.awaitState("lamps", Disabled); got.Reason != stop.want || got.PID != 0 {
			t.Errorf("got %+v, want it disabled for %s", got, stop.want)
		}
		b.awaitShown("light.lamp", runtime.Unavailable)
		if _, err := b.call("turn_on", "light.lamp"); err == nil || !strings.Contains(err.Error(), "is stopped") {
			t.Errorf("turn_on: got %v, want that it is stopped", err)
		}
		if err := b.host.Enable("lamps"); err != nil {
			t.Fatal(err)
		}
		b.awaitState("lamps", Ready)
		b.awaitShown("light.lamp", "off")
	}
	if alive(st.PID) {
		t.Errorf("process %d is still there", st.PID)
	}
	if err := b.host.Restart("nobody"); err != ErrUnknown {
		t.Errorf("Restart of nobody: got %v, want %v", err, ErrUnknown)
	}
}

// The contract says that a drain has a deadline.
func TestDrainHasADeadline(t *testing.T) {
	name := filepath.Join(t.TempDir(), "deadline")
	b := newBench(t, func(b *bench) { b.host.times.patience = time.Hour }, "lamps", "tell-deadline="+name)
	b.awaitState("lamps", Ready)
	if err := b.host.Drain("lamps"); err != nil {
		t.Fatal(err)
	}
	b.awaitState("lamps", Disabled)
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	deadline, err := time.Parse(time.RFC3339, string(text))
	if left := time.Until(deadline); err != nil || left < 50*time.Minute || left > time.Hour {
		t.Errorf("got %s, %v: want an hour from when it was asked to", text, err)
	}
}

func TestFileThatGoes(t *testing.T) {
	b := newBench(t, nil, "lamps", "version=1")
	st := b.awaitState("lamps", Ready)
	b.awaitShown("light.lamp", "off")
	if err := os.Remove(filepath.Join(b.host.Dir, "lamps")); err != nil {
		t.Fatal(err)
	}
	b.awaitShown("light.lamp", runtime.Unavailable)
	b.await("it is gone", func() bool { return len(b.host.List()) == 0 })
	if alive(st.PID) {
		t.Errorf("process %d is still there", st.PID)
	}
	b.awaitLogged(`msg="adapter stopped" adapter=lamps reason=removed`)
	b.put("lamps", "version=2")
	b.awaitShown("light.lamp", "off")
}

func TestConfiguration(t *testing.T) {
	b := newBench(t, func(b *bench) {
		b.host.Adapters = map[string]AdapterConfig{"lamps": {Config: []byte(`{"name":"hall"}`)}, "off": {Path: "lamps", Disabled: true}}
	}, "lamps", "version=1 reconfigures")
	st := b.awaitState("lamps", Ready)
	b.awaitShown("light.hall", "off")
	b.awaitState("off", Disabled)
	b.host.SetConfig(map[string]AdapterConfig{"lamps": {Config: []byte(`{"wrong":true}`)}})
	b.await("the mistake is told", func() bool { return b.status("lamps").Reason == ReasonConfig })
	if got := b.status("lamps"); got.State != Ready || got.PID != st.PID || !strings.Contains(got.Error, "/wrong: must not be true") {
		t.Errorf("got %+v, want it ready as before, and the field's error", got)
	}
	b.host.SetConfig(map[string]AdapterConfig{"lamps": {Config: []byte(`{"name":"attic"}`)}})
	b.await("the mistake is gone", func() bool { return b.status("lamps").Reason == "" })
	if got := b.status("lamps"); got.PID != st.PID {
		t.Errorf("it was restarted for a configuration that it takes as it runs")
	}
	// Other arguments need another process.
	b.host.SetConfig(map[string]AdapterConfig{"lamps": {Config: []byte(`{"name":"attic"}`), Args: []string{"-v"}}})
	b.await("it is restarted for other arguments", func() bool { s := b.status("lamps"); return s.State == Ready && s.PID != st.PID })
	b.awaitShown("light.attic", "off")
	b.awaitShown("light.hall", runtime.Unavailable) // nobody has declared it again
}

// What is taken back before the adapter has answered may be in force: it is told again what is.
func TestConfigurationTakenBack(t *testing.T) {
	hall := map[string]AdapterConfig{"lamps": {Config: []byte(`{"name":"hall"}`)}}
	b := newBench(t, func(b *bench) { b.host.Adapters = hall }, "lamps", "version=1 reconfigures tell-config")
	st := b.awaitState("lamps", Ready)
	b.host.SetConfig(map[string]AdapterConfig{"lamps": {Config: []byte(`{"name":"late"}`)}})
	b.await("it is asked to take another", func() bool { return strings.Contains(b.logged(), "configuring late") })
	b.host.SetConfig(hall)
	b.await("it is told again", func() bool { return strings.Count(b.logged(), "configured hall") == 2 })
	if got := b.status("lamps"); got.PID != st.PID || got.Reason != "" {
		t.Errorf("got %+v, want it as before", got)
	}
}

// An adapter that gives up at the deadline is as late as one that says nothing.
func TestErrorAtTheDeadline(t *testing.T) {
	b := newBench(t, nil, "lamps", "version=1 late-error")
	b.awaitState("lamps", Ready)
	b.awaitShown("light.lamp", "off")
	for range 5 {
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond+900*time.Microsecond)
		_, err := b.rt.Call(ctx, runtime.Command{Domain: "light", Service: "turn_on", Data: []byte(`{"entity_id":"light.lamp"}`)})
		cancel()
		if !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v, want that the deadline is over", err)
		}
	}
}
