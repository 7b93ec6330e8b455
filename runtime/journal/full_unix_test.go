//go:build unix

package journal

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"carillon/runtime"
)

// fullChild lets the kernel refuse to write any file beyond some size, which
// is an I/O error in the middle of a write like that of a full disk, and lifts
// that limit again.
func fullChild(dir string) {
	if err := fillUp(dir); err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	fmt.Println("ok")
}

func fillUp(dir string) error {
	signal.Ignore(syscall.SIGXFSZ)
	log := slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelError}))
	j, err := Open(context.Background(), Options{Dir: dir, Log: log})
	if err != nil {
		return err
	}
	defer j.Close()
	type answer struct {
		last uint64
		err  error
	}
	answers := make(chan answer, 20000)
	add := func(i, n int) {
		j.Append(events(i, n), func(last uint64, err error) { answers <- answer{last, err} })
	}
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_FSIZE, &limit); err != nil {
		return err
	}
	small := limit
	small.Cur = 100_000
	if err := unix.Setrlimit(unix.RLIMIT_FSIZE, &small); err != nil {
		return err
	}
	const appends = 1000
	for i := range appends {
		add(i*3, 3)
	}
	stored, failed := 0, 0
	for range appends {
		a := <-answers
		switch {
		case a.err == nil && failed > 0:
			return fmt.Errorf("an append up to %d was stored behind one that failed", a.last)
		case a.err == nil:
			stored++
		case !errors.Is(a.err, syscall.EFBIG) && !errors.Is(a.err, ErrUnavailable):
			return fmt.Errorf("got error %w, want one that says %w", a.err, syscall.EFBIG)
		default:
			failed++
		}
	}
	if _, err := appendOne(j); err == nil {
		return errors.New("an append was stored before Recover")
	}
	if stored == 0 || failed == 0 {
		return fmt.Errorf("%d appends stored, %d failed, want some of both", stored, failed)
	}
	if err := checkStored(j, stored*3, stored*3); err != nil {
		return fmt.Errorf("reading while the disk is full: %w", err)
	}
	if err := unix.Setrlimit(unix.RLIMIT_FSIZE, &limit); err != nil {
		return err
	}
	for a := (answer{err: ErrUnavailable}); a.err != nil; a = <-answers {
		if !errors.Is(a.err, ErrUnavailable) && !errors.Is(a.err, syscall.EFBIG) {
			return a.err
		}
		<-time.After(5 * time.Millisecond)
		j.Recover()
		add(1, 1)
	}
	return checkStored(j, stored*3+1, stored*3)
}

// appendOne appends an event and waits for the answer.
func appendOne(j *Journal) (last uint64, err error) {
	done := make(chan struct{})
	j.Append(events(9, 1), func(l uint64, e error) { last, err = l, e; close(done) })
	<-done
	return last, err
}

func checkStored(j *Journal, want, whole int) error {
	n := 0
	var last uint64
	err := j.Read(context.Background(), 0, func(ev *runtime.Event) bool {
		n++
		last = ev.Seq
		return n > whole || ev.Seq == uint64(n)
	})
	if _, head := j.Bounds(); err == nil && (n != want || last != head) {
		err = fmt.Errorf("got %d events up to %d, want %d up to %d", n, last, want, head)
	}
	return err
}

func TestAFullDiskFailsWhatIsBehindItAndNoMore(t *testing.T) {
	dir := t.TempDir()
	cmd, lines := child(t, "full", dir)
	lines.Scan()
	if got := strings.TrimSpace(lines.Text()); got != "ok" {
		t.Errorf("got %q, want ok", got)
	}
	cmd.Wait()
	j := open(t, Options{Dir: dir})
	if first, last := j.Bounds(); first != 1 || last == 0 {
		t.Errorf("got bounds %d, %d after a restart", first, last)
	}
}
