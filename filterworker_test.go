package main

import (
	"bytes"
	"context"
	"os"
	"strings"
	"testing"
	"time"

	"carillon/runtime"
	"carillon/scripts/filter"
	"carillon/scripts/filter/worker"
)

// TestFilterWorker has the binary, as its hidden command, run a filter that
// needs the whole of JavaScript.
func TestFilterWorker(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	pool := worker.NewPool(worker.Options{Command: []string{self, filterWorkerCommand}, Memory: 1 << 30})
	defer pool.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	f, err := pool.Compile(ctx, "operator", "loud", "e => { for (const c of e.data.words) if (new RegExp(c, 'i').test('HELLO')) return {c}; }", nil)
	if err != nil {
		t.Fatal(err)
	}
	event := runtime.ParseEvent(1, "api", "said", "", "", time.Now(), []byte(`{"event_type":"said","data":{"words":["bye","hell(?=o)"]}}`))
	var got []string
	err = pool.Decide(ctx, "operator", []*runtime.Event{event}, []*worker.Filter{f}, nil, func(_, _ int, o filter.Outcome) {
		got = append(got, string(o.Data)+o.Err)
	})
	if err != nil || strings.Join(got, " ") != `{"c":"hell(?=o)"}` {
		t.Errorf("got %v, %v, want the second word", got, err)
	}
}

func TestUsageHidesTheFilterWorker(t *testing.T) {
	var out bytes.Buffer
	if code := run([]string{"help"}, &out, &out); code != 0 || !strings.Contains(out.String(), "serve") || strings.Contains(out.String(), filterWorkerCommand) {
		t.Errorf("got status %d and %s, want the usage without %s", code, out.String(), filterWorkerCommand)
	}
}
