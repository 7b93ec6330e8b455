package scripts

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"carillon/runtime"
)

// A rename is one file that goes and one that comes, in no order: the new name
// must not be refused what the old one is about to give up.
func TestARenamedScriptKeepsItsEntities(t *testing.T) {
	b := newBench(t, "a.js", `device('light.mine').set('on');
		on('busy', () => { emit('begun'); for (;;) Math.random(); });`)
	names := []string{"b.js", "a.js"}
	for i := range 20 {
		if i%5 == 0 { // the old name takes its time to end
			b.fire("busy", "")
			b.next("begun", i/5+1)
		}
		from, to := filepath.Join(b.dir, names[(i+1)%2]), filepath.Join(b.dir, names[i%2])
		if err := os.Rename(from, to); err != nil {
			t.Fatal(err)
		}
		b.next(runtime.ScriptLoaded, i+2)
		b.next(runtime.ScriptRemoved, i+1)
		b.wantState("light.mine", "on")
	}
	if failed := b.find(runtime.ScriptFailed); len(failed) > 0 {
		t.Errorf("renaming: got %d failures, want none: %s", len(failed), failed[0].Data())
	}
}

func TestARefusedScriptIsTriedAgain(t *testing.T) {
	const second = `device('light.mine').set('second');`
	for name, giveUp := range map[string]func(b *bench){
		"the owner's file is deleted": func(b *bench) { os.Remove(filepath.Join(b.dir, "a.js")) },
		"the owner is saved without":  func(b *bench) { b.write("a.js", `device('light.other');`) },
		"the owner removes it":        func(b *bench) { b.fire("remove", "") },
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t, "a.js", `const d = device('light.mine'); d.set('first'); on('remove', () => d.remove());`)
			if st := b.load("b.js", second); st.State != Failed || !strings.Contains(st.Error.Message, "belongs to a.js") {
				t.Fatalf("status: got %+v, want a conflict with a.js", st)
			}
			giveUp(b)
			b.wantState("light.mine", "second")
			b.await("b.js is running", func() bool { st := b.status("b.js"); return st.State == Running && st.Error == nil })
		})
	}
}

// Files that change places in quick succession wait for each other's removal,
// but never in a circle.
func TestRenamesInACircle(t *testing.T) {
	b := newBench(t, "a.js", `device('light.a').set('on');`, "b.js", `device('light.b').set('on');`)
	swap := func(from, to string) {
		if err := os.Rename(filepath.Join(b.dir, from), filepath.Join(b.dir, to)); err != nil {
			t.Fatal(err)
		}
	}
	for range 15 {
		swap("a.js", "c.js")
		swap("b.js", "a.js")
		swap("c.js", "b.js")
		b.fire("pause", "")
	}
	b.write("b.js", `device('light.b').set('last');`)
	b.write("a.js", `device('light.a').set('last');`)
	b.wantState("light.a", "last")
	b.wantState("light.b", "last")
}
