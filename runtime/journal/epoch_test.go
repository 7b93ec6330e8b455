package journal

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

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
	if after, err := j.SeqAt(ctx, start); err != nil || after != 0 {
		t.Errorf("got %d, %v, want 0: some of what happened since then is removed", after, err)
	}
	if after, err := j.SeqAt(ctx, event(int(first)).Time); err != nil || after != first {
		t.Errorf("got %d, %v, want %d: all of what happened since then is left", after, err, first)
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

func TestARetentionThatCannotBeChangedStays(t *testing.T) {
	j := open(t, Options{MaxBytes: 100_000})
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := j.SetRetention(ctx, time.Hour, 50_000); err == nil {
		t.Error("changing it with a context that has ended: got no error")
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.options.MaxAge != 0 || j.options.MaxBytes != 100_000 {
		t.Errorf("got %v and %d, want those before", j.options.MaxAge, j.options.MaxBytes)
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

func TestTheHeadIsNotedWhileOpen(t *testing.T) {
	t.Parallel() // it waits for SyncInterval
	j := open(t, Options{})
	mustAppend(t, j, events(0, 10)...)
	eventually(t, "head noted", func() bool {
		m, err := readMark(j.dir)
		return err == nil && m == mark{Boot: bootID(), Head: 10}
	})
	mustAppend(t, j, events(10, 1)...)
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	if m, err := readMark(j.dir); err != nil || (m != mark{Boot: bootID(), Head: 11, Clean: true}) {
		t.Errorf("got %+v, %v, want a clean end at 11", m, err)
	}
}

func TestALostFolderTakesNothing(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "data")
	j := open(t, Options{Dir: dir})
	mustAppend(t, j, event(1))
	if err := j.Err(); err != nil {
		t.Fatalf("got %v of a sound journal", err)
	}
	if err := os.Rename(dir, dir+".gone"); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the journal notices", func() bool { return j.Err() != nil })
	if _, err := appendWait(t, j, event(2)); !errors.Is(err, ErrUnavailable) || !strings.Contains(err.Error(), "removed or replaced") {
		t.Errorf("got %v, want an error that says what happened to the folder", err)
	}
	if err := os.Rename(dir+".gone", dir); err != nil {
		t.Fatal(err)
	}
}
