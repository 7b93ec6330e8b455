package journal

import (
	"context"
	"errors"
	"testing"

	"carillon/runtime"
)

func TestTailGivesTheVeryPointers(t *testing.T) {
	j := open(t, Options{})
	mustAppend(t, j, events(0, 300)...)
	l := startTail(t, j, 100)
	l.wait(t, 200)
	mine := events(300, 1000)
	for i := 0; i < len(mine); i += 10 {
		j.Append(mine[i:i+10], func(_ uint64, err error) {
			if err != nil {
				t.Error(err)
			}
		})
	}
	got := l.wait(t, 1200)
	for i, ev := range got {
		if want := uint64(101 + i); ev.Seq != want {
			t.Fatalf("got %d, want %d", ev.Seq, want)
		}
		if i >= 200 && ev != mine[i-200] {
			t.Fatalf("event %d is not the one that was appended", ev.Seq)
		}
	}
	if l.most > batchMost {
		t.Errorf("got a batch of %d, want at most %d", l.most, batchMost)
	}
	l.cancel()
	if err := <-l.err; !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want context.Canceled", err)
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.used != 0 || j.usedSize != 0 || len(j.recent) != 0 {
		t.Errorf("got %d events, %d bytes, %d kept behind the last tail, want none", j.used, j.usedSize, len(j.recent))
	}
}

func TestTailGoesOnAnywhere(t *testing.T) {
	dir := t.TempDir()
	j := open(t, Options{Dir: dir})
	mustAppend(t, j, events(0, 5000)...)
	j.Close()
	j = open(t, Options{Dir: dir})
	for _, after := range []uint64{0, 1, 2500, 4999, 5000, 9999} {
		l := startTail(t, j, after)
		want := 5000 - min(5000, int(after))
		got := l.wait(t, want)
		for i, ev := range got {
			if ev.Seq != after+1+uint64(i) {
				t.Fatalf("after %d: got %d at %d", after, ev.Seq, i)
			}
		}
		l.cancel()
		<-l.err
	}
}

func TestASlowTailStopsAppend(t *testing.T) {
	j := open(t, Options{})
	release := make(chan struct{})
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	seen := 0
	tailed := make(chan error, 1)
	go func() {
		tailed <- j.Tail(ctx, 0, func(batch []*runtime.Event) {
			<-release
			if seen += len(batch); seen == 2*MaxPending {
				cancel()
			}
		})
	}()
	appended := make(chan struct{})
	go func() {
		for i := range 2 * MaxPending {
			j.Append(events(i, 1), func(uint64, error) {})
		}
		close(appended)
	}()
	eventually(t, "no room", func() bool {
		j.mu.Lock()
		defer j.mu.Unlock()
		return j.used == MaxPending
	})
	select {
	case <-appended:
		t.Error("Append did not wait for the tail")
	default:
	}
	close(release)
	<-appended
	<-tailed
	if seen != 2*MaxPending {
		t.Errorf("got %d events, want %d", seen, 2*MaxPending)
	}
}
