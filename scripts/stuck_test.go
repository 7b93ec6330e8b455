package scripts

import (
	"bytes"
	"context"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/VictoriaMetrics/metrics"
)

func TestWatchdogTellsOfAStuckRunOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		w := newWatchdog()
		go w.run(ctx, func() {})
		told := make(chan time.Time, 10)
		l := &lease{interrupt: func(error) {}, clear: func() {}, stuck: func() { told <- time.Now() }}
		w.add(l)
		for range 2 {
			w.begin(l, 100*time.Millisecond)
			began := time.Now()
			time.Sleep(5 * time.Second)
			l.end()
			if len(told) != 1 {
				t.Fatalf("a run of 5 s: got told %d times, want once", len(told))
			}
			if took := (<-told).Sub(began); took < giveUp || took > giveUp+200*time.Millisecond {
				t.Errorf("got told after %v, want about %v after the run's time", took, giveUp)
			}
		}
		w.begin(l, 100*time.Millisecond)
		time.Sleep(giveUp) // interrupted, and ended in time
		l.end()
		time.Sleep(5 * time.Second)
		if len(told) != 0 {
			t.Error("a run that ended after its interrupt: got told that it is stuck")
		}
	})
}

// Such a handler says so, with the line where it was given, and the next
// version of the script takes over.
func TestAStuckHandlerIsReported(t *testing.T) {
	b := prepare(t, "a.js", "device('light.a').set('first');")
	b.host.Limits.Handler = 20 * time.Millisecond
	b.start()
	b.await("the host is ready", func() bool { return closed(b.host.Ready()) })
	end := make(chan struct{})
	defer close(end)
	g := b.host.router.inService()[0]
	err := g.box.put(job{resume: func() { // as a built-in function that no interrupt reaches, but without its heat
		g.run(&story{}, position{2, 1}, func() error { <-end; return nil })
	}})
	if err != nil {
		t.Fatal(err)
	}
	if e := b.next(ScriptError, 1); field(e, "line") != "2" || !strings.Contains(field(e, "message"), "can't be interrupted") {
		t.Errorf("script_error: got %s, want one in line 2 that it can't be interrupted", e.Data())
	}
	if got := b.status("a.js").LastError; got == nil || got.Message != errStuck.Error() {
		t.Errorf("status: got last error %v, want %v", got, errStuck)
	}
	b.load("a.js", "device('light.a').set('second');")
	b.wantState("light.a", "second")
}

// Prometheus knows no bucket but those of le.
func TestMetricsArePrometheus(t *testing.T) {
	metricHandler.Update(0.001)
	var text bytes.Buffer
	metrics.WritePrometheus(&text, false)
	for line := range strings.Lines(text.String()) {
		if strings.Contains(line, "carillon_script_") && strings.Contains(line, "vmrange") {
			t.Fatalf("got %s", line)
		}
	}
	if !strings.Contains(text.String(), "carillon_script_handler_seconds_count") {
		t.Error("got no count of handlers")
	}
}
