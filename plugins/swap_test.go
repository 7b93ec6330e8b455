//go:build unix

package plugins

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"carillon/runtime"
)

// Under load a new executable takes over: nothing is lost or stored twice, the
// entity stays, and no command fails.
func TestSwapUnderLoad(t *testing.T) {
	b := newBench(t, nil, "lamps", "version=1 count rate=5000 per=10")
	b.awaitShown("light.lamp", "off")
	old := b.awaitState("lamps", Ready)
	stop := b.keepCalling()
	b.await("there is load", func() bool { return len(b.numbers()["1"]) > 500 })
	b.put("lamps", "version=2 count rate=5000 per=10")
	b.await("the new one publishes", func() bool { return len(b.numbers()["2"]) > 500 })
	if done := stop(); done < 10 {
		t.Errorf("only %d commands were done", done)
	}
	b.stop()
	numbers := b.numbers()
	checkNumbers(t, "1", numbers["1"])
	checkNumbers(t, "2", numbers["2"])
	if slices.Contains(b.story("light.lamp"), runtime.Unavailable) {
		t.Errorf("the lamp was unavailable: %v", b.story("light.lamp"))
	}
	if alive(old.PID) || len(b.failures()) != 0 {
		t.Errorf("the old one lives, or something failed: %v", b.failures())
	}
	last := map[string]uint64{}
	for _, e := range b.find("tick") {
		last[e.Source] = e.Seq
	}
	for _, e := range b.find("tick") {
		if e.Source == "lamps@2" && e.Seq < last["lamps@1"] {
			t.Fatalf("the new one published before the old one's last")
		}
	}
}

// keepCalling gives one command after another until stop is called, which returns how many
// there were. None may fail.
func (b *bench) keepCalling() (stop func() int) {
	over, commands := make(chan struct{}), make(chan int, 1)
	go func() {
		done := 0
		for {
			select {
			case <-over:
				commands <- done
				return
			default:
			}
			if _, err := b.call("turn_on", "light.lamp"); err != nil && b.t.Context().Err() == nil {
				b.t.Errorf("command %d: %v", done, err)
			}
			done++
			<-time.After(time.Millisecond)
		}
	}()
	end := sync.OnceFunc(func() { close(over) })
	b.t.Cleanup(end)
	return func() int {
		end()
		return <-commands
	}
}

// A new one that fails in any way changes nothing.
func TestBadSwap(t *testing.T) {
	for _, test := range []struct {
		words  string
		reason Reason
		beside bool // it fails beside the old one, which never notices
	}{
		{"version=2 garbage", ReasonHandshake, true},
		{"version=2 exit=1", ReasonExit, true},
		{"version=2 undescribed", ReasonTimeout, true},
		{"version=2 unhealthy", ReasonUnhealthy, false},
		{"version=2 unhealthy crash", ReasonExit, false},
	} {
		t.Run(test.words, func(t *testing.T) {
			b := newBench(t, func(b *bench) {
				if test.reason == ReasonTimeout {
					b.host.times.call = 500 * time.Millisecond
				}
			}, "lamps", "version=1")
			b.awaitShown("light.lamp", "off")
			old := b.awaitState("lamps", Ready)
			stop := b.keepCalling()
			b.put("lamps", test.words)
			b.await("the failure is told", func() bool { return slices.Contains(b.failures(), string(test.reason)) })
			b.await("the old one runs", func() bool {
				s := b.status("lamps")
				return s.State == Ready && s.Version == "1" && s.Reason == test.reason
			})
			b.awaitLogged("adapter failed; what ran before goes on")
			if got := b.status("lamps"); test.beside != (got.PID == old.PID) {
				t.Errorf("process: got %d, had %d", got.PID, old.PID)
			}
			stop()
			if r, err := b.call("turn_on", "light.lamp"); err != nil || string(r.Response) != `{"by":"1"}` {
				t.Errorf("turn_on: got %v, want an answer of the old one", err)
			}
			if slices.Contains(b.story("light.lamp"), runtime.Unavailable) {
				t.Errorf("the lamp was unavailable")
			}
			b.put("lamps", "version=3")
			b.await("the next one is taken", func() bool { s := b.status("lamps"); return s.Version == "3" && s.State == Ready && s.Reason == "" })
		})
	}
}

// A second mistake on the heels of the first does not lose what ran before either.
func TestTwoBadSwaps(t *testing.T) {
	b := newBench(t, nil, "lamps", "version=1 late=300ms") // so it is not ready again when the second one takes its turn
	b.awaitShown("light.lamp", "off")
	old := b.awaitState("lamps", Ready)
	b.put("lamps", "version=2 unhealthy")
	b.await("the first is tried", func() bool { return !alive(old.PID) })
	b.put("lamps", "version=3 unhealthy")
	b.await("the second is refused", func() bool {
		return b.host.adapters["lamps"].lastNumber() >= 5 && b.status("lamps").State == Ready && b.status("lamps").Reason == ReasonUnhealthy
	})
	if got := b.status("lamps"); got.Version != "1" {
		t.Errorf("got version %s in service, want 1", got.Version)
	}
}

// A generation that is not ready, and has not declared what the one before it had, speaks
// for none of it: it is unavailable soon, and takes no commands.
func TestUndeclaredIsUnavailable(t *testing.T) {
	health := filepath.Join(t.TempDir(), "health")
	b := newBench(t, func(b *bench) { b.host.times.claim, b.host.times.poll = time.Hour, 50*time.Millisecond }, "lamps", "version=1 health="+health)
	b.awaitShown("light.lamp", "off")
	if err := os.WriteFile(health, []byte("the gateway is gone"), 0o600); err != nil {
		t.Fatal(err)
	}
	b.awaitState("lamps", Degraded)
	b.host.SetConfig(map[string]AdapterConfig{"lamps": {Config: []byte(`{"name":"other"}`)}})
	b.awaitShown("light.other", "off")
	b.awaitShown("light.lamp", runtime.Unavailable)
	if _, err := b.call("turn_on", "light.lamp"); err == nil || !strings.Contains(err.Error(), "has not declared it since it started") {
		t.Errorf("turn_on: got %v, want that it is unavailable", err)
	}
	b.host.SetConfig(nil)
	b.awaitShown("light.lamp", "off")
}

// What others do to an entity is not for long: its adapter's next state has its attributes.
func TestEntityThatOthersRemove(t *testing.T) {
	b := newBench(t, nil, "lamps", "version=1")
	b.awaitShown("light.lamp", "off")
	if err := b.rt.Remove(t.Context(), "light.lamp", runtime.Remote, runtime.Context{}, "api"); err != nil {
		t.Fatal(err)
	}
	if _, err := b.call("turn_on", "light.lamp"); err != nil {
		t.Fatal(err)
	}
	if got := string(b.rt.State("light.lamp").Attributes); got != `{"friendly_name":"Lamp"}` {
		t.Errorf("attributes: got %s, want those that it declared", got)
	}
}

// A new one that takes long to become ready gets commands before it is.
func TestCommandsBeforeReady(t *testing.T) {
	b := newBench(t, func(b *bench) { b.host.times.healthy = time.Hour }, "lamps", "version=1")
	b.awaitShown("light.lamp", "off")
	old := b.awaitState("lamps", Ready)
	b.put("lamps", "version=2 unhealthy")
	b.await("it takes over", func() bool { return !alive(old.PID) })
	if r, err := b.call("turn_on", "light.lamp"); err != nil || string(r.Response) != `{"by":"2"}` {
		t.Errorf("turn_on: got %v, want an answer of the new one", err)
	}
	b.await("its status says so", func() bool {
		s := b.status("lamps")
		return s.State == Starting && strings.Contains(s.Error, "on trial, and not ready yet: the gateway does not answer") && s.PID != old.PID && alive(s.PID)
	})
	b.put("lamps", "version=3")
	b.await("the next one is ready", func() bool { s := b.status("lamps"); return s.State == Ready && s.Version == "3" && s.Error == "" })
	if n := len(b.find(runtime.AdapterDegraded)) + len(b.find(runtime.AdapterRecovered)); n != 0 {
		t.Errorf("got %d events of its health, want none", n)
	}
}

// Somebody may tidy up the folder of the sockets while it is empty.
func TestSocketFolderThatGoes(t *testing.T) {
	b := newBench(t, nil, "lamps", "version=1")
	b.awaitState("lamps", Ready)
	if err := b.host.Disable("lamps"); err != nil {
		t.Fatal(err)
	}
	b.awaitState("lamps", Disabled)
	b.await("the folder is empty", func() bool { return os.Remove(b.host.sockets.get()) == nil })
	if err := b.host.Enable("lamps"); err != nil {
		t.Fatal(err)
	}
	b.awaitState("lamps", Ready)
}

// The path of a socket is short enough for the system, however long that of the temporary
// folder is.
func TestSocketPaths(t *testing.T) {
	root := t.TempDir()
	if len(root) > 60 {
		t.Skip("the tests' own folder has a long path")
	}
	for n := len(root) + 2; n < 80; n++ {
		dir := filepath.Join(root, strings.Repeat("x", n-len(root)-1))
		if err := os.Mkdir(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		t.Setenv("TMPDIR", dir)
		var f socketFolder
		sub, err := f.sub()
		if err != nil {
			t.Fatal(err)
		}
		f.remove()
		parent := filepath.Dir(filepath.Dir(sub))
		if longest := len(parent) + len("/carillon-4294967295/4294967295/plugin-dir4294967295/plugin4294967295"); longest > 103 {
			t.Errorf("TMPDIR of %d bytes: got paths of up to %d bytes, want 103 at most", n, longest)
		}
	}
}

// That the old one ends while its successor starts is told, as any other end.
func TestOldOneEndsDuringSwap(t *testing.T) {
	b := newBench(t, func(b *bench) { b.host.times.config = 10 * time.Second }, "lamps", "version=1")
	b.awaitShown("light.lamp", "off")
	old := b.awaitState("lamps", Ready)
	b.put("lamps", "version=2 unconfigured")
	b.await("the next one starts", func() bool { return b.host.adapters["lamps"].lastNumber() == 2 })
	if err := syscall.Kill(old.PID, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	b.await("it is told", func() bool { return slices.Contains(b.failures(), string(ReasonExit)) })
	b.awaitLogged("adapter failed; another takes over")
	b.put("lamps", "version=3")
	b.await("the next one is taken", func() bool { s := b.status("lamps"); return s.Version == "3" && s.State == Ready })
}

func TestExclusiveHandOver(t *testing.T) {
	lock := filepath.Join(t.TempDir(), "port")
	words := "exclusive lock=" + lock
	b := newBench(t, nil, "lamps", "version=1 "+words)
	b.awaitShown("light.lamp", "off")
	b.put("lamps", "version=2 "+words)
	b.await("the new one has the port", func() bool { s := b.status("lamps"); return s.Version == "2" && s.State == Ready })
	if got := b.failures(); len(got) != 0 {
		t.Errorf("failures: got %v, want none", got)
	}
	b.put("lamps", "version=3 garbage exclusive")
	b.await("the failure is told", func() bool { return len(b.failures()) == 1 })
	b.await("the old one is back", func() bool { s := b.status("lamps"); return s.Version == "2" && s.State == Ready && s.Reason != "" })
	if r, err := b.call("turn_on", "light.lamp"); err != nil || string(r.Response) != `{"by":"2"}` {
		t.Errorf("turn_on: got %v, want an answer of the old one", err)
	}
	if slices.Contains(b.story("light.lamp"), runtime.Unavailable) {
		t.Errorf("the lamp was unavailable: %v", b.story("light.lamp"))
	}
}

// A hand-over that is given up for the next change is no failure; one that the end of the
// server gives up does not start the old one again.
func TestHandOverGivenUp(t *testing.T) {
	words := "exclusive lock=" + filepath.Join(t.TempDir(), "port")
	b := newBench(t, func(b *bench) { b.host.times.config = 15 * time.Second }, "lamps", "version=1 "+words)
	b.awaitShown("light.lamp", "off")
	number := b.host.adapters["lamps"].lastNumber
	b.put("lamps", "version=2 unconfigured "+words)
	b.await("the second one starts", func() bool { return number() == 2 })
	b.put("lamps", "version=3 "+words)
	b.await("the third one has the port", func() bool { s := b.status("lamps"); return s.Version == "3" && s.State == Ready })
	last := number()
	b.put("lamps", "version=4 unconfigured "+words)
	b.await("the fourth one starts", func() bool { return number() > last })
	b.stop()
	if got := number(); got != last+1 {
		t.Errorf("got generation %d at the end, want %d", got, last+1)
	}
	if got := b.failures(); len(got) != 0 {
		t.Errorf("failures: got %v, want none", got)
	}
}

// A new one that is not ready yet is given up at once for the next change, which may mend it.
func TestTrialGivenUp(t *testing.T) {
	for name, words := range map[string]string{"beside": "", "exclusive": " exclusive lock=" + filepath.Join(t.TempDir(), "port")} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t, func(b *bench) { b.host.times.healthy = time.Hour }, "lamps", "version=1"+words)
			b.awaitShown("light.lamp", "off")
			old := b.awaitState("lamps", Ready)
			b.put("lamps", "version=2 unhealthy"+words)
			b.await("the second one is tried", func() bool { return !alive(old.PID) })
			b.put("lamps", "version=3"+words)
			b.await("the third one runs", func() bool { s := b.status("lamps"); return s.Version == "3" && s.State == Ready })
			if got := b.failures(); len(got) != 0 {
				t.Errorf("failures: got %v, want none", got)
			}
			if slices.Contains(b.story("light.lamp"), runtime.Unavailable) {
				t.Errorf("the lamp was unavailable: %v", b.story("light.lamp"))
			}
		})
	}
}

// The end of the server doesn't wait for a new one to become ready: it is drained as it is.
func TestEndBeforeReady(t *testing.T) {
	b := newBench(t, func(b *bench) { b.host.times.healthy = time.Hour }, "lamps", "version=1")
	b.awaitShown("light.lamp", "off")
	old := b.awaitState("lamps", Ready)
	b.put("lamps", "version=2 unhealthy count=0 rate=1000")
	b.await("it takes over", func() bool { return !alive(old.PID) && len(b.numbers()["2"]) > 0 })
	b.stop()
	if text := "adapters did not end and were left behind"; strings.Contains(b.logged(), text) {
		t.Errorf("the log has %q", text)
	}
	if got := b.status("lamps").Counters; got.Undrained != 0 || got.Dropped != 0 {
		t.Errorf("got %d generations that were not drained, %d items dropped, want none", got.Undrained, got.Dropped)
	}
}

// Commands under way when the old one is drained are answered by it.
func TestSwapWaitsForCommands(t *testing.T) {
	b := newBench(t, nil, "lamps", "version=1 slow=300ms")
	b.awaitShown("light.lamp", "off")
	answer := make(chan string, 1)
	go func() {
		r, err := b.call("turn_on", "light.lamp")
		if err != nil {
			t.Error(err)
			answer <- ""
			return
		}
		answer <- string(r.Response)
	}()
	b.await("the command is under way", func() bool { return len(b.find(runtime.ServiceCalled)) == 1 })
	b.put("lamps", "version=2")
	if got := <-answer; got != `{"by":"1"}` {
		t.Errorf("got an answer of %s, want of the old one", got)
	}
	b.await("the new one runs", func() bool { return b.status("lamps").Version == "2" })
}

// The old one hangs, or doesn't end when it is asked to: it is ended.
func TestSwapOfAStoppedAdapter(t *testing.T) {
	b := newBench(t, func(b *bench) { b.host.times.drain, b.host.times.hang = 300*time.Millisecond, time.Minute }, "lamps", "version=1")
	st := b.awaitState("lamps", Ready)
	if err := syscall.Kill(st.PID, syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	b.put("lamps", "version=2")
	b.await("the new one runs", func() bool { s := b.status("lamps"); return s.Version == "2" && s.State == Ready })
	b.await("the old one is gone", func() bool { return !alive(st.PID) })
	b.put("lamps", "version=3 undrained")
	b.await("the next one runs", func() bool { s := b.status("lamps"); return s.Version == "3" && s.State == Ready })
	b.put("lamps", "version=4")
	b.await("the last one runs", func() bool { s := b.status("lamps"); return s.Version == "4" && s.State == Ready })
	if got := b.status("lamps").Counters.Undrained; got != 2 {
		t.Errorf("got %d generations that were not drained, want 2", got)
	}
	b.awaitLogged("it was not through with what it does within ")
}

func TestRestartOnRequest(t *testing.T) {
	b := newBench(t, nil, "lamps", "version=1")
	old := b.awaitState("lamps", Ready)
	b.awaitShown("light.lamp", "off")
	if err := b.host.Restart("lamps"); err != nil {
		t.Fatal(err)
	}
	b.await("another process runs", func() bool { s := b.status("lamps"); return s.State == Ready && s.PID != old.PID })
	if slices.Contains(b.story("light.lamp"), runtime.Unavailable) {
		t.Errorf("the lamp was unavailable")
	}
}

func TestHealth(t *testing.T) {
	health := filepath.Join(t.TempDir(), "health")
	b := newBench(t, func(b *bench) { b.host.times.poll = 50 * time.Millisecond }, "lamps", "health="+health)
	b.awaitState("lamps", Ready)
	if err := os.WriteFile(health, []byte("the gateway is gone"), 0o600); err != nil {
		t.Fatal(err)
	}
	if got := b.awaitState("lamps", Degraded); got.Error != "the gateway is gone" {
		t.Errorf("got %q, want what it says", got.Error)
	}
	for _, says := range []string{"ready, but for a lamp", "ready, but for a plug"} { // the last word counts
		if err := os.WriteFile(health, []byte(says), 0o600); err != nil {
			t.Fatal(err)
		}
		b.await("it tells "+says, func() bool { s := b.status("lamps"); return s.State == Ready && s.Error == says })
	}
	if err := os.Remove(health); err != nil {
		t.Fatal(err)
	}
	b.await("all is well", func() bool { s := b.status("lamps"); return s.State == Ready && s.Error == "" })
	b.await("both are told", func() bool {
		return len(b.find(runtime.AdapterDegraded)) == 1 && len(b.find(runtime.AdapterRecovered)) == 1
	})
}

// What is wrong with a change is told as long as it is not in force, however the
// one that goes on feels meanwhile.
func TestMistakeOutlivesHealth(t *testing.T) {
	health := filepath.Join(t.TempDir(), "health")
	b := newBench(t, func(b *bench) { b.host.times.poll = 50 * time.Millisecond }, "lamps", "exclusive lock="+filepath.Join(t.TempDir(), "port")+" health="+health)
	b.awaitState("lamps", Ready)
	b.host.SetConfig(map[string]AdapterConfig{"lamps": {Config: []byte(`{"wrong":true}`)}})
	before := b.status("lamps").PID
	b.await("the mistake is told", func() bool { return b.status("lamps").Reason == ReasonConfig })
	if got := b.status("lamps").PID; got != before || before == 0 {
		t.Errorf("process %d was ended for a mistake that it could have told; now it is %d", before, got)
	}
	if err := os.WriteFile(health, []byte("the gateway is gone"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"/wrong: must not be true", "the gateway is gone"} {
		if got := b.awaitState("lamps", Degraded); !strings.Contains(got.Error, want) {
			t.Errorf("degraded: got %q, want %q in it", got.Error, want)
		}
	}
	if err := os.Remove(health); err != nil {
		t.Fatal(err)
	}
	if got := b.awaitState("lamps", Ready); got.Reason != ReasonConfig || !strings.Contains(got.Error, "/wrong: must not be true") {
		t.Errorf("ready again: got %s: %q, want the mistake", got.Reason, got.Error)
	}
	b.host.SetConfig(nil)
	b.await("the mistake is mended", func() bool { s := b.status("lamps"); return s.State == Ready && s.Error == "" })
	if got := b.status("lamps"); got.PID != before || got.Restarts != 0 {
		t.Errorf("process %d was replaced by %d for what it does already", before, got.PID)
	}
}

// Why the last start failed can be read while the next is under way.
func TestStartingAgainSaysWhy(t *testing.T) {
	b := newBench(t, func(b *bench) {
		b.host.times.first, b.host.times.config = 50*time.Millisecond, 500*time.Millisecond
	}, "lamps", "unconfigured")
	b.await("it is started again", func() bool {
		s := b.status("lamps")
		return s.State == Starting && s.Restarts > 0 && strings.Contains(s.Error, "it did not answer Configure")
	})
	b.put("lamps", "version=2")
	b.await("all is well", func() bool { s := b.status("lamps"); return s.State == Ready && s.Error == "" })
}

func TestEnvironment(t *testing.T) {
	t.Setenv("CARILLON_TEST_SECRET", "hush")
	t.Setenv("CARILLON_TEST_PASSED", "passed")
	t.Setenv("TZ", "Europe/Berlin")
	b := newBench(t, func(b *bench) {
		b.host.Adapters = map[string]AdapterConfig{"env": {Env: []string{"CARILLON_TEST_PASSED", "GIVEN=1"}, Args: []string{"one", "two"}}}
		b.write("env", []byte("#!/bin/sh\necho \"ARGS $*\" >&2\npwd >&2\nenv >&2\necho LAST LINE >&2\n"), 0o755)
	})
	// What it wrote may be read after its end is known.
	for _, want := range []string{"CARILLON_TEST_PASSED=passed", "GIVEN=1", "TZ=Europe/Berlin", "ARGS one two", b.host.workDir("env"), "PLUGIN_CLIENT_CERT=", "LAST LINE"} {
		b.awaitLogged(want)
	}
	if strings.Contains(b.logged(), "hush") {
		t.Errorf("it has the server's environment")
	}
}
