package journal

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sort"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"carillon/runtime"
)

// TestMain runs the test binary as another process that is to be killed.
func TestMain(m *testing.M) {
	switch os.Getenv("JOURNAL_TEST_CHILD") {
	case "load":
		loadChild(os.Getenv("JOURNAL_TEST_DIR"))
	case "full":
		fullChild(os.Getenv("JOURNAL_TEST_DIR"))
	default:
		os.Exit(m.Run())
	}
}

func child(t *testing.T, role, dir string) (*exec.Cmd, *bufio.Scanner) {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), "JOURNAL_TEST_CHILD="+role, "JOURNAL_TEST_DIR="+dir)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cmd.Process.Kill()
		cmd.Wait()
	})
	return cmd, bufio.NewScanner(out)
}

// loadChild appends as fast as it can, in appends of 1 to 40 events, and prints
// what Tail shows: a batch's last sequence.
func loadChild(dir string) {
	j, err := Open(context.Background(), Options{Dir: dir})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	fmt.Println(j.Epoch())
	_, last := j.Bounds()
	go j.Tail(context.Background(), last, func(batch []*runtime.Event) {
		fmt.Println(batch[len(batch)-1].Seq)
	})
	for i, n := int(last), 1; ; i, n = i+n, n%40+1 {
		j.Append(events(i, n), func(_ uint64, err error) {
			if err != nil {
				fmt.Fprintln(os.Stderr, err)
			}
		})
	}
}

func TestAKilledProcessLosesNothingThatWasSeen(t *testing.T) {
	dir := t.TempDir()
	epoch, before := "", uint64(0)
	for round := range 3 {
		cmd, lines := child(t, "load", dir)
		lines.Scan()
		if epoch == "" {
			epoch = lines.Text()
		}
		if got := lines.Text(); got != epoch {
			t.Errorf("round %d: got epoch %s, want %s", round, got, epoch)
		}
		seen := before
		for lines.Scan() {
			seen, _ = strconv.ParseUint(lines.Text(), 10, 64)
			if seen > before+20000 && cmd.Process != nil {
				cmd.Process.Kill() // and read on: what it still had printed was seen
			}
		}
		cmd.Wait()
		j := open(t, Options{Dir: dir, Log: testLog(t)})
		if got := j.Epoch(); got != epoch {
			t.Errorf("round %d: got epoch %s after the kill, want %s", round, got, epoch)
		}
		got := readAll(t, j, 0)
		_, last := j.Bounds()
		if last < seen || len(got) < int(seen) {
			t.Fatalf("round %d: got %d events up to %d, want at least the %d that were seen", round, len(got), last, seen)
		}
		checkWhole(t, j, got)
		before = last
		j.Close()
	}
}

// checkWhole checks that events are gapless up to where an append was cut off,
// and that every append of loadChild is whole.
func checkWhole(t *testing.T, j *Journal, evs []*runtime.Event) {
	t.Helper()
	m, err := j.eng.stream.GetLastMsgForSubject(context.Background(), allSubjects)
	if err != nil {
		t.Fatal(err)
	}
	if _, n, err := parsePayload(m.Data); err != nil || n.after != 0 {
		t.Errorf("the last append lacks %d events, %v", n.after, err)
	}
	for i := 1; i < len(evs); i++ {
		if evs[i].Seq <= evs[i-1].Seq {
			t.Fatalf("got %d after %d", evs[i].Seq, evs[i-1].Seq)
		}
	}
}

func TestAnAppendCutShortIsRemoved(t *testing.T) {
	dir := t.TempDir()
	j := open(t, Options{Dir: dir})
	mustAppend(t, j, events(0, 3)...)
	for i, ev := range events(3, 4) { // of an append of 10
		if err := publish(j.eng.nc, subjectOf(ev), "", appendPayload(nil, ev, i, 9-i)); err != nil {
			t.Fatal(err)
		}
	}
	eventually(t, "all stored", func() bool {
		info, err := j.eng.stream.Info(context.Background())
		return err == nil && info.State.LastSeq == 7
	})
	j.Close()
	j = open(t, Options{Dir: dir, Log: testLog(t)})
	if got := readAll(t, j, 0); len(got) != 3 {
		t.Errorf("got %d events, want the 3 of whole appends", len(got))
	}
	l := startTail(t, j, 0)
	last := mustAppend(t, j, events(3, 2)...)
	if got := l.wait(t, 5); got[3].Seq <= 7 || got[4].Seq != last {
		t.Errorf("got %d and %d, want sequences that were never given", got[3].Seq, got[4].Seq)
	}
}

// blocks returns the block files of the stream of events, in order.
func blocks(t *testing.T, dir string) []string {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(dir, "jetstream", "*", "streams", streamName, "msgs", "*.blk"))
	if err != nil || len(names) == 0 {
		t.Fatalf("no block files in %s: %v", dir, err)
	}
	number := func(name string) int {
		n, _ := strconv.Atoi(strings.TrimSuffix(filepath.Base(name), ".blk"))
		return n
	}
	sort.Slice(names, func(a, b int) bool { return number(names[a]) < number(names[b]) })
	return names
}

func TestATornTailIsPassedOverAndTakesANewEpoch(t *testing.T) {
	for _, index := range []bool{true, false} {
		dir := t.TempDir()
		j := open(t, Options{Dir: dir})
		mustAppend(t, j, events(0, 50)...)
		for i := range 50 {
			mustAppend(t, j, event(50+i))
		}
		epoch := j.Epoch()
		if err := j.Close(); err != nil {
			t.Fatal(err)
		}
		names := blocks(t, dir)
		last := names[len(names)-1]
		info, err := os.Stat(last)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.Truncate(last, info.Size()-20); err != nil {
			t.Fatal(err)
		}
		if !index {
			if err := os.Remove(filepath.Join(filepath.Dir(last), "index.db")); err != nil {
				t.Fatal(err)
			}
		}
		j = open(t, Options{Dir: dir, Log: testLog(t)})
		if got := readAll(t, j, 0); len(got) != 99 || got[98].Seq != 99 {
			t.Errorf("index %v: got %d events, want the 99 that are left", index, len(got))
		}
		if got := j.Epoch(); got == epoch {
			t.Errorf("index %v: got the same epoch %s, want another", index, got)
		}
		fresh := mustAppend(t, j, event(100))
		if got := readAll(t, j, 99); len(got) != 1 || got[0].Seq != fresh {
			t.Errorf("index %v: got %d events behind the tear, want the one at %d", index, len(got), fresh)
		}
		j.Close()
	}
}

func TestEpoch(t *testing.T) {
	dir := t.TempDir()
	j := open(t, Options{Dir: dir})
	first := j.Epoch()
	if len(first) != 10 || strings.Trim(first, "abcdefghijklmnopqrstuvwxyz0123456789") != "" {
		t.Errorf("got epoch %q, want 10 letters and digits", first)
	}
	mustAppend(t, j, events(0, 10)...)
	j.Close()
	reopen := func(what string, same bool, before string) string {
		t.Helper()
		j := open(t, Options{Dir: dir})
		defer j.Close()
		if got := j.Epoch(); (got == before) != same {
			t.Errorf("%s: got epoch %s after %s, want the same: %v", what, got, before, same)
		}
		return j.Epoch()
	}
	reopen("a clean restart", true, first)
	crash := func(boot string) {
		t.Helper()
		if err := (mark{Boot: boot, Head: 10}).write(dir, false); err != nil {
			t.Fatal(err)
		}
	}
	crash(bootID())
	reopen("a kill", bootID() != "", first)
	crash("another boot")
	second := reopen("a crash of the machine", false, first)
	reopen("a clean restart", true, second)
	if err := os.WriteFile(filepath.Join(dir, markFile), []byte("{torn"), 0o600); err != nil {
		t.Fatal(err)
	}
	third := reopen("a torn mark", false, second)
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	reopen("a deleted folder", false, third)
}

func TestASecondOpenIsRefused(t *testing.T) {
	dir := t.TempDir()
	cmd, lines := child(t, "load", dir)
	lines.Scan()
	_, err := Open(context.Background(), Options{Dir: dir})
	var locked *LockedError
	if !errors.As(err, &locked) || locked.PID != cmd.Process.Pid || locked.Dir != dir {
		t.Fatalf("got %v, want a LockedError with pid %d", err, cmd.Process.Pid)
	}
	for _, want := range []string{dir, strconv.Itoa(cmd.Process.Pid), "stop that one first"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("got %q, want it to say %q", err, want)
		}
	}
	cmd.Process.Kill()
	cmd.Wait()
	j := open(t, Options{Dir: dir}) // the lock went with the process
	if _, err := Open(context.Background(), Options{Dir: dir}); !errors.As(err, &locked) {
		t.Errorf("got %v within one process, want a LockedError", err)
	}
	j.Close()
	open(t, Options{Dir: dir})
}

// A message that the journal did not send stands for any confusion of what the
// stream holds: everything from there on must fail and be gone.
func TestAStrayMessageFailsTheAppendsBehindIt(t *testing.T) {
	j := open(t, Options{Log: testLog(t)})
	l := startTail(t, j, 0)
	mustAppend(t, j, events(0, 5)...)
	stray := event(99)
	if _, err := j.eng.js.Publish(context.Background(), subjectOf(stray), appendPayload(nil, stray, 0, 0)); err != nil {
		t.Fatal(err)
	}
	if _, err := appendWait(t, j, events(5, 3)...); err == nil {
		t.Error("got no error behind a stray message")
	}
	last := mustAppend(t, j, events(8, 2)...)
	got := l.wait(t, 7)
	if read := readAll(t, j, 0); len(got) != 7 || len(read) != 7 || got[6].Seq != last || read[6].Seq != last {
		t.Fatalf("got %d tailed, %d read, want 7", len(got), len(read))
	}
	if got[5].Seq != 10 { // 5, a stray, 3 that failed
		t.Errorf("got %d, want 10", got[5].Seq)
	}
}

// The server stops while appends are on their way: each is either told stored,
// and there, or failed, and not there.
func TestTheServerDiesUnderLoad(t *testing.T) {
	j := open(t, Options{Log: testLog(t)})
	l := startTail(t, j, 0)
	type outcome struct {
		n    int
		last uint64
		err  error
	}
	outcomes := make(chan outcome, 4000)
	for i := range 2000 {
		if i == 1000 {
			eng, err := j.engine()
			if err != nil {
				t.Fatal(err)
			}
			go eng.srv.Shutdown()
		}
		n := 1 + i%7
		j.Append(events(i*7, n), func(last uint64, err error) { outcomes <- outcome{n, last, err} })
	}
	stored, failed := 0, 0
	want := map[uint64]bool{}
	for range 2000 {
		o := <-outcomes
		if o.err != nil {
			failed++
			continue
		}
		stored += o.n
		for i := range o.n {
			want[o.last-uint64(i)] = true
		}
	}
	t.Logf("%d events stored, %d appends failed", stored, failed)
	eventually(t, "appends work again", func() bool {
		n, err := appendWait(t, j, event(1))
		if err == nil {
			stored++
			want[n] = true
		}
		return err == nil
	})
	tailed := l.wait(t, stored)
	read := readAll(t, j, 0)
	if len(tailed) != stored || len(read) != stored {
		t.Fatalf("got %d tailed and %d read, want %d", len(tailed), len(read), stored)
	}
	for i := range read {
		if !want[read[i].Seq] || tailed[i].Seq != read[i].Seq {
			t.Fatalf("got %d tailed and %d read at %d, which was not told stored", tailed[i].Seq, read[i].Seq, i)
		}
	}
}

func TestRetention(t *testing.T) {
	dir := t.TempDir()
	j := open(t, Options{Dir: dir})
	ctx := context.Background()
	for i := range 40 {
		mustAppend(t, j, events(i*100, 100)...)
	}
	if err := j.SetRetention(ctx, 0, 100_000); err != nil {
		t.Fatal(err)
	}
	first, last := j.Bounds()
	if first <= 1 || last != 4000 {
		t.Fatalf("got bounds %d, %d, want some of 4000 removed", first, last)
	}
	if got := readAll(t, j, 0); got[0].Seq != first || got[len(got)-1].Seq != last {
		t.Errorf("got events %d to %d, want %d to %d", got[0].Seq, got[len(got)-1].Seq, first, last)
	}
	if after, err := j.SeqAt(ctx, start); err != nil || after != first-1 {
		t.Errorf("got %d, %v, want %d: the oldest that is left", after, err, first-1)
	}
	if err := j.SetRetention(ctx, 200*time.Millisecond, 0); err != nil {
		t.Fatal(err)
	}
	eventually(t, "all aged out", func() bool {
		first, last := j.Bounds()
		return first == 4001 && last == 4000
	})
	epoch := j.Epoch()
	j.Close()
	j = open(t, Options{Dir: dir, MaxAge: time.Hour})
	if first, last := j.Bounds(); first != 4001 || last != 4000 || j.Epoch() != epoch {
		t.Errorf("got bounds %d, %d, epoch %s after a restart, want 4001, 4000, %s", first, last, j.Epoch(), epoch)
	}
	if got := mustAppend(t, j, event(1)); got != 4001 {
		t.Errorf("got %d, want 4001", got)
	}
}

func TestStatesAreSavedAndLoaded(t *testing.T) {
	dir := t.TempDir()
	j := open(t, Options{Dir: dir})
	ctx := context.Background()
	if states, upTo, err := j.LoadStates(ctx); err != nil || upTo != 0 || len(states) != 0 {
		t.Fatalf("got %d states up to %d, %v, want none", len(states), upTo, err)
	}
	mustAppend(t, j, events(0, 500)...)
	table := map[string]runtime.StoredState{}
	var changed []runtime.StoredState
	for i := range 5000 {
		s := runtime.StoredState{Source: "a.js@1", State: &runtime.State{EntityID: fmt.Sprintf("light.l%d", i), State: "on",
			Attributes: json.RawMessage(`{"n":1}`), LastChanged: start, LastUpdated: start, LastReported: start, Context: runtime.Context{ID: "x"}}}
		changed = append(changed, s)
		table[s.State.EntityID] = s
	}
	if err := j.SaveStates(ctx, changed, nil, 400); err != nil {
		t.Fatal(err)
	}
	changed[7].State.State, changed[7].Source = "off", "b.js@2"
	delete(table, "light.l8")
	table["light.l7"] = changed[7]
	if err := j.SaveStates(ctx, changed[7:8], []string{"light.l8", "light.never"}, 450); err != nil {
		t.Fatal(err)
	}
	check := func(wantUpTo uint64) {
		t.Helper()
		states, upTo, err := j.LoadStates(ctx)
		if err != nil || upTo != wantUpTo || len(states) != len(table) {
			t.Fatalf("got %d states up to %d, %v, want %d up to %d", len(states), upTo, err, len(table), wantUpTo)
		}
		for _, s := range states {
			want := table[s.State.EntityID]
			if s.Source != want.Source || string(s.State.AppendJSON(nil)) != string(want.State.AppendJSON(nil)) {
				t.Fatalf("got %s of %q, want %s of %q", s.State.AppendJSON(nil), s.Source, want.State.AppendJSON(nil), want.Source)
			}
		}
	}
	check(450)
	j.Close()
	j = open(t, Options{Dir: dir})
	check(450)
	if err := j.SaveStates(ctx, nil, nil, 600); err != nil { // as if the journal had lost its end
		t.Fatal(err)
	}
	check(500)
}

func TestKV(t *testing.T) {
	dir := t.TempDir()
	j := open(t, Options{Dir: dir})
	ctx := context.Background()
	kv, err := j.KV("tokens")
	if err != nil {
		t.Fatal(err)
	}
	keys := []string{"a", "a.b", "ü *>", "=41", "A", ".", strings.Repeat("k", 1024)}
	for _, key := range keys {
		if err := kv.Put(ctx, key, []byte("old")); err != nil {
			t.Fatal(err)
		}
		if err := kv.Put(ctx, key, []byte("value of "+key)); err != nil {
			t.Fatal(err)
		}
	}
	if err := kv.Delete(ctx, "a"); err != nil {
		t.Fatal(err)
	}
	if err := kv.Delete(ctx, "never"); err != nil {
		t.Fatal(err)
	}
	for _, bad := range []string{"", strings.Repeat("k", 1025)} {
		if err := kv.Put(ctx, bad, nil); err == nil {
			t.Errorf("got no error for a key of %d bytes", len(bad))
		}
	}
	j.Close()
	if _, err := kv.Get(ctx, "a"); !errors.Is(err, ErrClosed) {
		t.Errorf("got %v, want ErrClosed", err)
	}
	j = open(t, Options{Dir: dir})
	if kv, err = j.KV("tokens"); err != nil {
		t.Fatal(err)
	}
	got, err := kv.Keys(ctx)
	sort.Strings(got)
	want := append([]string(nil), keys[1:]...)
	sort.Strings(want)
	if err != nil || fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("got keys %q, %v, want %q", got, err, want)
	}
	if _, err := kv.Get(ctx, "a"); !errors.Is(err, ErrNoKey) {
		t.Errorf("got %v, want ErrNoKey", err)
	}
	for _, key := range want {
		if v, err := kv.Get(ctx, key); err != nil || string(v) != "value of "+key {
			t.Errorf("got %q, %v, want the value of %q", v, err, key)
		}
	}
	if err := kv.Put(ctx, "empty", nil); err != nil {
		t.Fatal(err)
	}
	if v, err := kv.Get(ctx, "empty"); err != nil || len(v) != 0 {
		t.Errorf("got %q, %v, want an empty value", v, err)
	}
	if _, err := j.KV("a.b"); err == nil {
		t.Error("got no error for a bucket's bad name")
	}
}

func TestClosedIsClosed(t *testing.T) {
	j := open(t, Options{})
	l := startTail(t, j, 0)
	eventually(t, "a tail", func() bool {
		j.mu.Lock()
		defer j.mu.Unlock()
		return len(j.tails) == 1
	})
	var stored int
	for i := range 100 {
		j.Append(events(i, 1), func(_ uint64, err error) {
			if err == nil {
				stored++
			}
		})
	}
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	if stored != 100 {
		t.Errorf("got %d stored by Close, want 100", stored)
	}
	if err := <-l.err; !errors.Is(err, ErrClosed) || len(l.all()) != 100 {
		t.Errorf("got %v after %d events, want ErrClosed after 100", err, len(l.all()))
	}
	if _, err := appendWait(t, j, event(1)); !errors.Is(err, ErrClosed) {
		t.Errorf("got %v, want ErrClosed", err)
	}
	if err := j.Tail(context.Background(), 0, nil); !errors.Is(err, ErrClosed) {
		t.Errorf("got %v, want ErrClosed", err)
	}
	if err := j.Close(); err != nil {
		t.Errorf("got %v from the second Close, want nil", err)
	}
}

func TestAReaderWhoseConsumerIsGoneGoesOn(t *testing.T) {
	j := open(t, Options{})
	mustAppend(t, j, events(0, 3000)...)
	next := uint64(0)
	err := j.Read(context.Background(), 0, func(ev *runtime.Event) bool {
		if next++; ev.Seq != next {
			t.Fatalf("got %d, want %d", ev.Seq, next)
		}
		if next == 500 {
			deleteConsumers(t, j.eng.stream)
		}
		return true
	})
	if err != nil || next != 3000 {
		t.Errorf("got to %d, %v, want 3000", next, err)
	}
}

func deleteConsumers(t *testing.T, stream jetstream.Stream) {
	t.Helper()
	ctx := context.Background()
	for name := range stream.ConsumerNames(ctx).Name() {
		if err := stream.DeleteConsumer(ctx, name); err != nil {
			t.Error(err)
		}
	}
}
