package journal

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sort"
	"strconv"
	"strings"
	"testing"

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
			if seen > before+8000 {
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

// checkWhole checks that events are in order and that every append is whole.
func checkWhole(t *testing.T, j *Journal, evs []*runtime.Event) {
	t.Helper()
	before := note{}
	_, last := j.Bounds()
	err := j.eng.read(context.Background(), readRange(0, last), func(seq uint64, _ string, payload []byte) bool {
		_, n, err := parsePayload(payload)
		if err != nil {
			t.Fatal(err)
		}
		if begins := n.before == 0 && before.after == 0; !begins && (n.before != before.before+1 || n.after != before.after-1) {
			t.Fatalf("event %d: %d before it and %d behind it in its append, after one with %d and %d", seq, n.before, n.after, before.before, before.after)
		}
		before = n
		return true
	})
	if err != nil || before.after != 0 {
		t.Errorf("the last append lacks %d events, %v", before.after, err)
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
