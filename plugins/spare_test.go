//go:build unix

package plugins

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// copies returns how many copies of executables are in use.
func (b *bench) copies() int {
	b.host.copies.mu.Lock()
	defer b.host.copies.mu.Unlock()
	return len(b.host.copies.using)
}

// Whatever crashes behind a mistake is what it was before, until the mistake is mended or somebody asks
// for it.
func TestCrashAfterAMistake(t *testing.T) {
	for name, mistake := range map[string]func(b *bench){
		"executable": func(b *bench) { b.put("lamps", "version=2 exit=1") },
		"configuration": func(b *bench) {
			b.host.SetConfig(map[string]AdapterConfig{"lamps": {Config: []byte(`{"wrong":true}`)}})
		},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t, nil, "lamps", "version=1")
			b.awaitShown("light.lamp", "off")
			old := b.awaitState("lamps", Ready)
			mistake(b)
			b.await("the mistake is told", func() bool { return b.status("lamps").Reason != "" })
			why := b.status("lamps").Reason
			for range 2 {
				if err := syscall.Kill(old.PID, syscall.SIGKILL); err != nil {
					t.Fatal(err)
				}
				b.await("the old one is back", func() bool {
					s := b.status("lamps")
					return s.State == Ready && s.PID != old.PID && s.Version == "1" && s.Reason == why
				})
				old = b.status("lamps")
			}
			b.awaitShown("light.lamp", "off")
			if r, err := b.call("turn_on", "light.lamp"); err != nil || string(r.Response) != `{"by":"1"}` {
				t.Errorf("turn_on: got %v, want an answer of the old one", err)
			}
			told := len(b.failures())
			if err := b.host.Restart("lamps"); err != nil {
				t.Fatal(err)
			}
			b.await("asked for, it is tried again", func() bool {
				s := b.status("lamps")
				return slices.Contains(b.failures()[told:], string(why)) && s.State == Ready && s.Version == "1" && s.Reason == why
			})
			b.host.SetConfig(nil)
			b.put("lamps", "version=3")
			b.await("the next one is taken", func() bool { s := b.status("lamps"); return s.State == Ready && s.Version == "3" && s.Reason == "" })
			b.await("no copy but its own is left", func() bool { return b.copies() == 1 })
		})
	}
}

// What was in force when it stopped for good is not kept.
func TestNoSpareBehindTheEnd(t *testing.T) {
	b := newBench(t, nil, "lamps", "version=1")
	b.awaitState("lamps", Ready)
	b.put("lamps", "version=2 exit=1")
	b.await("the mistake is told", func() bool { return b.status("lamps").Reason != "" })
	if err := b.host.Disable("lamps"); err != nil {
		t.Fatal(err)
	}
	b.awaitState("lamps", Disabled)
	b.await("no copy is left", func() bool { return b.copies() == 0 })
	if err := b.host.Enable("lamps"); err != nil {
		t.Fatal(err)
	}
	b.await("the mistake is in force", func() bool { s := b.status("lamps"); return s.State == BackingOff && s.Reason == ReasonExit })
}

// What has ended, and its copy with it, is no spare, and counts for no use of the copy.
func TestNoSpareOfACopyThatIsGone(t *testing.T) {
	from := filepath.Join(t.TempDir(), "lamps")
	if err := os.WriteFile(from, []byte("lamps"), 0o755); err != nil {
		t.Fatal(err)
	}
	a := newAdapter(&Host{copies: store{dir: t.TempDir()}}, "lamps")
	old, err := a.host.copies.copy(from)
	if err != nil {
		t.Fatal(err)
	}
	old.free()
	if a.keepSpare(&generation{a: a, spec: &spec{}, program: old}); a.spare != nil {
		t.Error("it is kept")
	}
	p, err := a.host.copies.copy(from)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(p.path); err != nil {
		t.Errorf("the next copy: %v", err)
	}
	a.keepSpare(&generation{a: a, spec: &spec{}, program: p})
	if p.free(); a.spare == nil {
		t.Fatal("what runs is not kept")
	}
	if _, err := os.Stat(a.spare.program.path); err != nil {
		t.Errorf("the spare: %v", err)
	}
}

// The end of the server has less patience than a drain that was asked for.
func TestEndDuringDrain(t *testing.T) {
	b := newBench(t, func(b *bench) { b.host.times.drain, b.host.times.patience = 200*time.Millisecond, time.Hour }, "lamps", "undrained")
	b.awaitState("lamps", Ready)
	if err := b.host.Drain("lamps"); err != nil {
		t.Fatal(err)
	}
	b.awaitState("lamps", Draining)
	b.stop()
	if strings.Contains(b.logged(), "left behind") {
		t.Error("it was left behind")
	}
}
