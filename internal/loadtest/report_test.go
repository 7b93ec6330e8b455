package loadtest

import (
	"bytes"
	"encoding/xml"
	"errors"
	"io"
	"math"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"
)

// sampleReport is a report with everything in it.
func sampleReport() *Report {
	s := newSeries()
	r := &Report{Date: time.Unix(0, 0).UTC(), Machine: Machine{Host: "<host>", System: "linux/amd64", CPUs: 2, Go: "go1"}, Target: "http://h/api/stream",
		Streams: 1000, Opened: 1000, OpenAtEnd: 999, OpenSeconds: 0.5, Reconnects: 1, Rate: 50, Size: 200, Published: 150, PublishSeconds: 3,
		Delivered: 150_000, Bytes: 60_000_000, Seconds: 3, Command: "carillon loadtest -x '<y>'", serverCPU: 300 * time.Millisecond,
		Server: &ServerCost{PID: 7, RSSBefore: 10 << 20, RSSAfter: 12 << 20, RSSPerStream: 2097, HeapStacksBefore: 1, HeapStacksAfter: 2, HeapPerStream: 512}}
	for i := range int64(3) {
		h := newHistogram()
		for v := int64(1); v <= 1000; v++ {
			h.RecordValue(v * 100 * (i + 1))
		}
		s.bySecond[i] = h
		s.settle(i)
		s.rates = append(s.rates, Second{At: float64(i), Delivered: 50_000, Bytes: 2e7, Published: 50, second: i})
	}
	r.addSeries(s)
	return r
}

func TestReportFigures(t *testing.T) {
	r := sampleReport()
	if l := r.Latency; l.Count != 3000 || math.Abs(l.P50-81.8) > 0.5 || l.Max < 300 || l.Max > 300.5 || l.P99 > l.Max {
		t.Errorf("got %+v", l)
	}
	p := r.Latency.Percentiles
	for i := range p {
		if i > 0 && (p[i].Percent <= p[i-1].Percent || p[i].Ms < p[i-1].Ms) {
			t.Errorf("percentiles do not ascend: %v after %v", p[i], p[i-1])
		}
	}
	if got := p[len(p)-1]; got.Percent != 100 || p[len(p)-2].Percent < 99.9 {
		t.Errorf("got last percentile %v after %v, want 100 %% after above 99.9 %%", got, p[len(p)-2])
	}
	if len(r.Series) != 3 || r.Series[2].Max < 300 || r.Series[0].P99 < 98 || r.Series[0].P99 > 100 {
		t.Errorf("got series %+v", r.Series)
	}
	if got := r.Server.CPUPerDelivery; math.Abs(got-2) > 1e-9 {
		t.Errorf("got %v µs a delivery, want 2", got)
	}
}

func TestSelectionsInTheReportHaveNoSecrets(t *testing.T) {
	for query, want := range map[string]string{"type=a,b*": "type=a,b*", "": "", "token=secret&type=a": "token=***&type=a", "jwt=secret": "jwt=***"} {
		if got := queryWithoutSecrets(query); got != want {
			t.Errorf("%q: got %q, want %q", query, got, want)
		}
	}
}

func TestReportText(t *testing.T) {
	var b strings.Builder
	r := sampleReport()
	r.Gaps, r.Announced = 3, 1500
	r.Chaos = &ChaosReport{Seed: 7, Kills: 100, KillsInFrame: 90, KillsInHead: 5, Aborted: 40, Stalls: 20, StallSeconds: 30, RestartsKill: 2, RestartsTerm: 1, DownSeconds: 0.5}
	r.WriteText(&b)
	for _, want := range []string{
		"streams    1,000 opened in 0.50 s (2000/s); 999 at the end, 1 reconnect\n",
		"published  150 events of 200 bytes of data, 50/s wanted, 50/s done; slowest request 0.00 ms\n",
		"delivered  150,000 events (50 k/s), 60 MB (20 MB/s); 0 other events\n",
		"faults     0 lost, 0 repeated, 0 disordered, 0 altered\n",
		"announced  3 gap frames, 0 reset frames; 1,500 deliveries missed that they stand for\n",
		"chaos      seed 7; 100 connections killed (90 within a frame, 5 before the stream began; 40 by reset, the others by close), " +
			"20 stalls of 1.50 s on average, 2 restarts by SIGKILL and 1 by SIGTERM, 0.50 s down\n",
		"server     0.30 s of CPU, 2 µs a delivery; 2.05 KiB RSS, 0.50 KiB heap and stacks a stream (RSS 10.0 MiB to 12.0 MiB)\n",
		"result     ok: every stream got every event unaltered, once and in order, but for 1,500 deliveries that it was told it would not get\n",
	} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("got\n%s\nwant %q in it", b.String(), want)
		}
	}
}

func TestVerdict(t *testing.T) {
	for want, change := range map[string]func(*Report){
		"FAULTY: 1,234 lost, 0 repeated, 2 disordered, 0 altered in 3 streams": func(r *Report) { r.Lost, r.Disordered, r.FaultyStreams = 1234, 2, 3 },
		"FAULTY: 1 lost, 0 repeated, 0 disordered, 0 altered in 1 stream":      func(r *Report) { r.Lost, r.FaultyStreams, r.Problem = 1, 1, "x" },
		"ended early: x":                   func(r *Report) { r.Problem = "x" },
		"interrupted; no fault until then": func(r *Report) { r.Interrupted = true },
		"nothing was delivered":            func(r *Report) { r.Delivered = 0 },
		"ok: the streams were held":        func(r *Report) { r.Rate, r.Delivered = 0, 0 },
		"ok: every stream got every event unaltered, once and in order": func(r *Report) {},
	} {
		r := sampleReport()
		change(r)
		if got := r.Verdict(); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
		if got := r.OK(); got != strings.HasPrefix(want, "ok") {
			t.Errorf("%s: got ok %v", want, got)
		}
	}
}

// The page must be whole, stand alone, and escape what others wrote.
func TestReportPage(t *testing.T) {
	r := sampleReport()
	r.Examples = []string{`event 5 (id "</script><b>")`}
	r.Lost = 1
	var b bytes.Buffer
	if err := r.WriteHTML(&b); err != nil {
		t.Fatal(err)
	}
	text := b.String()
	for _, bad := range []string{"src=", "href=", "url(", "@import", "<script", "<link", "</script>", "<host>", "<y>", "NaN", "Inf", "%!"} {
		if strings.Contains(text, bad) {
			t.Errorf("got %q in the page", bad)
		}
	}
	for _, want := range []string{"&lt;host&gt;", "prefers-color-scheme: dark", "Latency by percentile", "Throughput", "Latency over time", "FAULTY", "1,000"} {
		if !strings.Contains(text, want) {
			t.Errorf("got no %q in the page", want)
		}
	}
	svgs := regexp.MustCompile(`(?s)<svg.*?</svg>`).FindAllString(text, -1)
	if len(svgs) != 3 {
		t.Fatalf("got %d plots, want 3", len(svgs))
	}
	for _, svg := range svgs {
		d := xml.NewDecoder(strings.NewReader(svg))
		for {
			if _, err := d.Token(); errors.Is(err, io.EOF) {
				break
			} else if err != nil {
				t.Fatalf("plot is not well-formed: %v", err)
			}
		}
	}
	if err := (&Report{}).WriteHTML(io.Discard); err != nil {
		t.Errorf("empty report: %v", err)
	}
}

func TestNumbersInWords(t *testing.T) {
	for _, c := range []struct{ got, want string }{
		{count(0), "0"}, {count(999), "999"}, {count(1000), "1,000"}, {count(-1234567), "-1,234,567"},
		{plural(1, "stream"), "1 stream"}, {plural(2, "delivery"), "2 deliveries"},
		{amount(0), "0 "}, {amount(0.5), "0.50 "}, {amount(12.34), "12.3 "}, {amount(9999), "9999 "}, {amount(10000), "10 k"},
		{amount(12345), "12.3 k"}, {amount(999_600), "1.00 M"}, {amount(5e6), "5 M"}, {amount(123456789012), "123 G"},
		{rate(50), "50/s"}, {rate(2_470_000), "2.47 M/s"}, {millis(0.5), "0.50 ms"}, {millis(123.4), "123 ms"}, {millis(12345), "12.3 s"},
		{bytesText(512), "0.50 KiB"}, {bytesText(-2048), "-2.00 KiB"}, {bytesText(3 << 20), "3.0 MiB"},
	} {
		if c.got != c.want {
			t.Errorf("got %q, want %q", c.got, c.want)
		}
	}
	for top, want := range map[float64]float64{0: 1, 1: 0.5, 4: 1, 5: 2, 299: 100, 2_500_000: 1_000_000} {
		if got := niceStep(top); math.Abs(got-want) > want/1e6 {
			t.Errorf("niceStep(%v): got %v, want %v", top, got, want)
		}
	}
}

func TestTargetWithoutSecrets(t *testing.T) {
	u, _ := url.Parse("http://user:pw@h:1/s?token=T&api_password=P&topic=a&domain=*")
	if got, want := withoutSecrets(u), "http://h:1/s?api_password=%2A%2A%2A&domain=*&token=%2A%2A%2A&topic=a"; strings.ReplaceAll(got, "*", "%2A") != strings.ReplaceAll(want, "*", "%2A") {
		t.Errorf("got %s, want %s", got, want)
	}
}

func TestParseHeapStacks(t *testing.T) {
	const heap, stack = "go_memstats_heap_inuse_bytes 1.5e+06\n", "go_memstats_stack_inuse_bytes 500000\n"
	for text, want := range map[string]int64{"x 1\n" + heap + "# y\n" + stack: 2_000_000, heap: 0, "": 0, heap + "go_memstats_stack_inuse_bytes x\n": 0} {
		if got := parseHeapStacks(strings.NewReader(text)); got != want {
			t.Errorf("%q: got %d, want %d", text, got, want)
		}
	}
}
