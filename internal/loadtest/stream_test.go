package loadtest

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/url"
	"strings"
	"testing"
	"time"

	"carillon/internal/sse"
)

// script is what one stream of a simulated server receives: connections, each
// a string of bytes, and what should be found in them.
type script struct {
	conns []string
	want  faults
	marks int64
}

// sim makes scripts for streams of the events 1 to last.
type sim struct {
	*rand.Rand
	last    int64
	ids     bool
	newline string
	size    int
}

func (m *sim) frame(n int64) string {
	line := appendEvent(nil, mark{Run: "r", N: n, T: n * 1000}, m.size)
	b := sse.AppendEvent(nil, "", "", line[:len(line)-1])
	if m.ids {
		b = sse.AppendSeqEvent(nil, "abcdefgh", uint64(100+n), "", line[:len(line)-1])
	}
	return strings.ReplaceAll(string(b), "\n", m.newline)
}

// order makes a stream's events, with faults at the given chance.
func (m *sim) order(chance float64) (ns []int64) {
	for n := int64(1); n <= m.last; n++ {
		switch {
		case m.Float64() >= chance:
			ns = append(ns, n)
		case m.IntN(3) == 0: // dropped
		case m.IntN(2) == 0:
			ns = append(ns, n, max(1, n-m.Int64N(5)))
		default:
			ns = append(ns, n)
			if i := len(ns) - 1; i > 0 {
				ns[i], ns[i-1] = ns[i-1], ns[i]
			}
		}
	}
	return ns
}

// tally is the plain way to find what the worker should.
func tally(ns []int64, last int64) (f faults) {
	seen, highest := map[int64]bool{}, int64(0)
	for _, n := range ns {
		switch {
		case seen[n]:
			f.Repeated++
		case n < highest:
			f.Disordered++
		}
		seen[n] = true
		highest = max(highest, n)
	}
	for n := int64(1); n <= last; n++ {
		if !seen[n] {
			f.Lost++
		}
	}
	return f
}

// script makes one stream's bytes. Frames that all streams have may differ
// between them if own is set; connections break anywhere.
func (m *sim) script(chance float64, own, breaks, chunked bool) script {
	ns := m.order(chance)
	sc := script{want: tally(ns, m.last), marks: int64(len(ns))}
	var conn strings.Builder
	begin := func() {
		head := "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream; charset=utf-8\r\n"
		if chunked {
			head += "Transfer-Encoding: chunked\r\n"
		}
		conn.Reset()
		conn.WriteString(head + "\r\n")
		m.write(&conn, fmt.Sprintf(": stream %d%sretry: 1000%s%s", m.Int(), m.newline, m.newline, m.newline), chunked)
	}
	begin()
	for _, n := range ns {
		f := m.frame(n)
		if n%7 == 0 {
			f += ": beat" + m.newline + m.newline
		}
		if own && m.IntN(4) == 0 {
			f += "data: ping" + m.newline + m.newline
		}
		if breaks && m.IntN(20) == 0 {
			m.write(&conn, f[:m.IntN(strings.Index(f, m.newline+m.newline))], chunked)
			sc.conns = append(sc.conns, conn.String())
			begin()
		}
		m.write(&conn, f, chunked)
	}
	sc.conns = append(sc.conns, conn.String())
	return sc
}

// write appends s, in chunks of any size if chunked.
func (m *sim) write(b *strings.Builder, s string, chunked bool) {
	if !chunked {
		b.WriteString(s)
		return
	}
	for s != "" {
		n := 1 + m.IntN(len(s))
		fmt.Fprintf(b, "%x\r\n%s\r\n", n, s[:n])
		s = s[n:]
	}
}

// bench returns a worker without connections.
func bench(t testing.TB, streams, keep int) *worker {
	t.Helper()
	target, _ := url.Parse("http://127.0.0.1:1/api/stream")
	run := newTest(context.Background(), Options{Target: target, Streams: streams, Workers: 1})
	t.Cleanup(func() { run.cancel(nil) })
	w := run.workers[0]
	w.feeds[0].tape = newTape("r", -1, keep)
	return w
}

// play feeds the scripts to the worker in random pieces and order.
func play(t *testing.T, r *rand.Rand, w *worker, scripts []script) {
	t.Helper()
	conns := make([][]string, len(scripts))
	left := make([]string, len(scripts))
	for i, sc := range scripts {
		conns[i] = sc.conns
		w.streams[i].phase = phaseIdle
	}
	alive := r.Perm(len(scripts))
	for len(alive) > 0 {
		at := r.IntN(len(alive))
		i := alive[at]
		s := &w.streams[i]
		if left[i] == "" {
			if s.phase == phaseBody {
				w.open--
				w.end(s)
				s.phase = phaseIdle
			}
			if len(conns[i]) == 0 {
				alive = append(alive[:at], alive[at+1:]...)
				continue
			}
			left[i], conns[i] = conns[i][0], conns[i][1:]
			w.run.gate.opening++
			w.begin(s)
		}
		n := min(len(left[i]), 1+r.IntN(1+r.IntN(3000)))
		piece := []byte(left[i][:n])
		if err := w.input(s, piece, 0); err != nil {
			t.Fatalf("stream %d: %v", i, err)
		}
		clear(piece)
		left[i] = left[i][n:]
	}
}

// checkSeed makes streams with faults from a seed. However their bytes are
// cut, mixed, broken and spoilt, the worker must find what plain counting does.
func checkSeed(t *testing.T, seed uint64) {
	t.Helper()
	r := rand.New(rand.NewPCG(seed, 1))
	m := &sim{Rand: r, last: 20 + r.Int64N(200), ids: seed%3 > 0, newline: "\n", size: r.IntN(300)}
	if seed%5 == 4 {
		m.newline = []string{"\r\n", "\r"}[seed%2]
	}
	chance := []float64{0, 0.02, 0.3}[seed%3]
	var scripts []script
	var want faults
	var marks int64
	for range 8 {
		sc := m.script(chance, seed%4 == 1, seed%4 >= 2, seed%2 == 1 && r.IntN(2) == 0)
		scripts = append(scripts, sc)
		want.add(sc.want)
		marks += sc.marks
	}
	w := bench(t, len(scripts), 4000)
	w.feeds[0].tape.size = m.size
	play(t, r, w, scripts)
	w.finish(m.last, *w.feeds[0].tape.order)
	if w.faults != want || w.delivered != marks {
		t.Errorf("seed %d: got %+v of %d events, want %+v of %d", seed, w.faults, w.delivered, want, marks)
	}
	if chance == 0 && w.faultyStreams() != 0 {
		t.Errorf("seed %d: got %d faulty streams, want none", seed, w.faultyStreams())
	}
}

func TestWorkerFindsEveryFault(t *testing.T) {
	for seed := range uint64(60) {
		checkSeed(t, seed)
	}
}

func FuzzWorker(f *testing.F) {
	f.Add(uint64(1000))
	f.Fuzz(checkSeed)
}

// Equal streams must need no parser of their own after their first event.
func TestEqualStreamsStayOnTheTape(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	m := &sim{Rand: r, last: 500, ids: true, newline: "\n", size: 200}
	var scripts []script
	for range 20 {
		scripts = append(scripts, m.script(0, false, false, false))
	}
	w := bench(t, len(scripts), 1<<20)
	play(t, r, w, scripts)
	left := 0
	for i := range w.streams {
		left += int(w.streams[i].leaves)
	}
	// Streams that are ahead of the tape when they join cost the others a detour.
	if left > 2*len(scripts) {
		t.Errorf("got %d departures from the tape of %d streams, want few", left, len(scripts))
	}
	if got := len(w.parsers); got > len(scripts) {
		t.Errorf("got %d parsers, want at most one a stream", got)
	}
}

// A changed byte in a mark is a fault even if everything else is the same.
func TestOneChangedByteIsFound(t *testing.T) {
	m := &sim{Rand: rand.New(rand.NewPCG(1, 3)), last: 50, newline: "\n", size: 100}
	good := m.script(0, false, false, false)
	for _, change := range [][2]string{{`"n":30,`, `"n":31,`}, {`"n":30,`, `"n":"0,`}, {`"run":"r","n":30,`, `"run":"s","n":30,`}, {"data: {", "dada: {"}, {"xxxxx\"", "xxyxx\""}, {"x\"", "\""}} {
		bad := strings.Replace(good.conns[0], change[0], change[1], 1)
		w := bench(t, 3, 1<<20)
		w.feeds[0].tape.size = m.size
		play(t, m.Rand, w, []script{good, {conns: []string{bad}}, good})
		w.finish(m.last, *w.feeds[0].tape.order)
		if w.faults.total() == 0 || w.faultyStreams() != 1 || len(w.examples)+int(w.faults.Lost) == 0 {
			t.Errorf("%q for %q: got %+v in %d streams, want a fault in one", change[1], change[0], w.faults, w.faultyStreams())
		}
	}
}

func TestReadingAnEqualStreamDoesNotAllocate(t *testing.T) {
	m := &sim{Rand: rand.New(rand.NewPCG(1, 4)), last: 1, ids: true, newline: "\n", size: 200}
	w := bench(t, 2, 64<<10)
	for i := range w.streams {
		w.run.gate.opening++
		w.begin(&w.streams[i])
		w.input(&w.streams[i], []byte("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n"+m.frame(1)), 0)
	}
	n := int64(1)
	var pieces [200][]byte
	for i := range pieces {
		n++
		pieces[i] = []byte(m.frame(n))
		w.input(&w.streams[0], pieces[i], 0)
	}
	i := 0
	got := testing.AllocsPerRun(len(pieces)-1, func() {
		w.input(&w.streams[1], pieces[i], 0)
		i++
	})
	if got != 0 {
		t.Errorf("got %v allocations an event, want 0", got)
	}
	if w.delivered != 402 || w.faults.total() != 0 {
		t.Errorf("got %d events, %+v, want 402 and no fault", w.delivered, w.faults)
	}
}

func BenchmarkEqualStreams(b *testing.B) {
	const streams, batch = 2000, 16
	m := &sim{Rand: rand.New(rand.NewPCG(1, 5)), ids: true, newline: "\n", size: 200}
	w := bench(b, streams, 1<<20)
	for i := range w.streams {
		w.run.gate.opening++
		w.begin(&w.streams[i])
		w.input(&w.streams[i], []byte("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n"+m.frame(1)), 0)
	}
	n := int64(1)
	b.SetBytes(int64(len(m.frame(1000)) * batch * streams))
	began := time.Now()
	for b.Loop() {
		var piece []byte
		for range batch {
			n++
			piece = append(piece, m.frame(n)...)
		}
		for i := range w.streams {
			w.input(&w.streams[i], piece, int64(time.Since(began)))
		}
	}
	b.ReportMetric(float64(b.Elapsed())/float64(b.N*streams*batch), "ns/delivery")
}
