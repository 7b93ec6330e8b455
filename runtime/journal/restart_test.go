package journal

import (
	"context"
	goruntime "runtime"
	"testing"

	"github.com/nats-io/nats.go/jetstream"

	"carillon/runtime"
)

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

func TestReadOutlivesTheServer(t *testing.T) {
	j := open(t, Options{Log: testLog(t)})
	mustAppend(t, j, events(0, 5000)...)
	next := uint64(0)
	err := j.Read(context.Background(), 0, func(ev *runtime.Event) bool {
		if next++; ev.Seq != next {
			t.Fatalf("got %d, want %d", ev.Seq, next)
		}
		if next == 100 {
			eng, err := j.engine()
			if err != nil {
				t.Fatal(err)
			}
			eng.srv.Shutdown()
		}
		return true
	})
	if err != nil || next != 5000 {
		t.Errorf("got to %d, %v, want 5000", next, err)
	}
	if last := mustAppend(t, j, event(1)); last != 5001 {
		t.Errorf("got %d, want 5001", last)
	}
}

func TestCloseLeavesNothingRunningAndNoPortWasOpen(t *testing.T) {
	open(t, Options{}).Close() // what the libraries start once
	before := goruntime.NumGoroutine()
	for range 5 {
		j := open(t, Options{})
		if addr := j.eng.srv.Addr(); addr != nil {
			t.Errorf("got a listener at %v, want none", addr)
		}
		mustAppend(t, j, events(0, 10)...)
		readAll(t, j, 0)
		if err := j.Close(); err != nil {
			t.Fatal(err)
		}
	}
	eventually(t, "goroutines back where they were", func() bool { return goruntime.NumGoroutine() <= before })
}
