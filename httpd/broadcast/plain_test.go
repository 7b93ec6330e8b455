package broadcast

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"

	"carillon/internal/sse"
)

// A plainStream is what the model knows of a stream.
type plainStream struct {
	s     *Stream
	r     Request
	after uint64
	sels  []plainChange // the first one is that of the beginning
}

// A plainChange is a selection that holds for what comes after a sequence.
type plainChange struct {
	sel   Selection
	after uint64
}

// selectionAt returns the selection that holds for what comes after seq.
func (ps *plainStream) selectionAt(seq uint64) Selection {
	sel := ps.sels[0].sel
	for _, c := range ps.sels[1:] {
		if c.after <= seq {
			sel = c.sel
		}
	}
	return sel
}

// want returns the sequences in after..to whose events the stream is to get.
func (ps *plainStream) want(w *world, after, to uint64) (seqs []uint64) {
	for i, c := range ps.sels {
		end := to
		if i+1 < len(ps.sels) {
			end = min(to, ps.sels[i+1].after)
		}
		if from := max(after, c.after); from < end {
			seqs = append(seqs, w.want(c.sel, from, end)...)
		}
	}
	return seqs
}

// A checker reads what a stream got: each event once, in order, under its name
// and with the right bytes; all of its selections up to wherever an id says,
// but for what gaps tell.
type checker struct {
	*model
	ps      *plainStream
	at      uint64 // everything up to here was given, or told as a gap
	events  uint64
	changed int             // the last change that was announced
	excused map[uint64]bool // left out, as told
	end     uint64          // of the conflation under way; no other is told before
	asData  string          // a gap as data that its named event must follow
}

// check checks a stream, and returns the position of its reader.
func (m *model) check(ps *plainStream, whole bool) uint64 {
	c := &checker{model: m, ps: ps, at: ps.after, excused: make(map[uint64]bool)}
	r := sse.Reader{On: c.frame, MaxEvent: 1 << 20}
	r.Write(m.p.out[ps.s].Bytes())
	if whole {
		c.reach(m.w.head(), "end")
	}
	if (whole || m.p.over[ps.s]) && r.Pending() {
		m.t.Fatal("got an unfinished frame at the end")
	}
	if got := ps.s.events; whole && got != c.events {
		m.t.Fatalf("got %d events counted, want %d", got, c.events)
	}
	return c.at
}

func (c *checker) fail(format string, args ...any) {
	c.t.Helper()
	c.t.Fatalf("stream after %d, policy %v, selections %+v: %s", c.ps.after, c.ps.r.Slow, c.ps.sels, fmt.Sprintf(format, args...))
}

// reach notes that the stream says it has everything up to seq.
func (c *checker) reach(seq uint64, why string) {
	c.t.Helper()
	if seq < c.at {
		c.fail("got %s %d after %d", why, seq, c.at)
	}
	for _, missed := range c.ps.want(c.w, c.at, seq) {
		if !c.excused[missed] {
			c.fail("event %d is missing before %s %d", missed, why, seq)
		}
	}
	c.at = seq
}

func (c *checker) frame(f sse.Frame) {
	_, seq, _ := sse.ParseID(string(f.ID))
	name, data := string(f.Event), string(f.Data)
	if c.asData != "" && name != "gap" && name != "reset" && name != "filter_error" {
		c.fail("got %q behind a gap or an error as data, want that", data)
	}
	switch {
	case f.Kind == sse.Comment || f.Kind == sse.Retry || data == "ping" || strings.HasPrefix(data, "ping "):
	case f.Kind == sse.Moved:
		c.reach(seq, "position")
	case strings.HasPrefix(data, "as data: "):
		c.asData = data
	case name == "filter_error":
		c.threw(data, f.HasID)
	case name == "gap":
		c.gap(data, seq, f.HasID)
	case name == "changed":
		fmt.Sscan(data, &c.changed)
		c.reach(c.ps.sels[c.changed].after, "change")
	default:
		c.event(seq, name, data)
	}
}

func (c *checker) event(seq uint64, name, data string) {
	c.t.Helper()
	if seq <= c.at {
		c.fail("got event %d after %d", seq, c.at)
	}
	c.reach(seq-1, "event")
	c.at = seq
	c.events++
	ev := c.w.events[seq-1]
	sel := c.ps.selectionAt(seq - 1).canonical()
	body := payload(nil, ev)
	given, ok := taken(sel, ev)
	switch {
	case given != nil && c.ps.r.Format == "timed":
		body = projected(nil, ev, given)
	case given != nil:
		body = given
	}
	if !ok || data != string(body) {
		c.fail("event %d: taken is %v, got %.80q, want %.80q", seq, ok, data, body)
	}
	want := ""
	if c.ps.r.Format == "native" {
		if want = nativeName(ev); want == "gap" {
			want = ""
		}
	}
	if name != want {
		c.fail("event %d: got name %q, want %q", seq, name, want)
	}
}

// threw checks what is told of a filter: that one of the stream's filters threw
// that message on that event.
func (c *checker) threw(data string, hasID bool) {
	c.t.Helper()
	c.toldAsData(data)
	var e struct {
		ID, Message, Filter string
		Errors              uint64
	}
	err := json.Unmarshal([]byte(data), &e)
	_, seq, ok := sse.ParseID(e.ID)
	if err != nil || !ok || hasID || e.Errors == 0 || seq == 0 || seq > c.w.head() {
		c.fail("got error %s with an id: %v (%v)", data, hasID, err)
	}
	ev := c.w.events[seq-1]
	for _, change := range c.ps.sels {
		f, ok := change.sel.Filter.(*testFilter)
		if ok && change.sel.matches(ev) && f.name == e.Filter && f.decide(ev).Err == e.Message {
			c.told++
			return
		}
	}
	c.fail("got error %s, want one that a filter of the stream throws", data)
}

// toldAsData checks that what is told was told as data, too, if that was asked for.
func (c *checker) toldAsData(data string) {
	c.t.Helper()
	if want := c.ps.r.GapsAsData && c.ps.r.Format == "native"; want != (c.asData != "") || want && c.asData != "as data: "+data {
		c.fail("got %q as data for %q, asked for: %v", c.asData, data, want)
	}
	c.asData = ""
}

func (c *checker) gap(data string, id uint64, hasID bool) {
	c.t.Helper()
	c.toldAsData(data)
	var g Gap
	if n, _ := fmt.Sscanf(data, `{"from":%d,"to":%d,"reason":"conflated","merged":%d,"dropped":%d}`, &g.From, &g.To, &g.Merged, &g.Dropped); n == 4 {
		if c.conflated(g); hasID {
			c.fail("got a gap with the id %d before the events that are left", id)
		}
		return
	}
	fmt.Sscanf(data, `{"from":%d,"to":%d,`, &g.From, &g.To)
	c.reach(g.From-1, "gap from")
	if !bytes.Contains([]byte(data), []byte(`"aged_out"`)) || g.To < g.From || g.To >= c.w.firstSeq() || id != g.To {
		c.fail("got gap %s with id %d, want one that ends before %d", data, id, c.w.firstSeq())
	}
	c.at = g.To
}

// conflated checks the figures of a conflation, and excuses what it left out.
func (c *checker) conflated(g Gap) {
	c.t.Helper()
	c.reach(g.From-1, "gap from")
	if c.ps.r.Slow != Conflate || g.From <= c.end && g.To <= c.end {
		c.fail("got a conflation of %d to %d after one up to %d", g.From, g.To, c.end)
	}
	c.end = g.To
	last, keyless := make(map[string]uint64), 0
	var merged, dropped uint64
	want := c.ps.want(c.w, g.From-1, g.To)
	for i := len(want) - 1; i >= 0; i-- {
		ev := c.w.events[want[i]-1]
		switch {
		case ev.Key == "" && keyless < c.w.hub.cfg.keyless:
			keyless++
		case ev.Key == "":
			dropped++
			c.excused[ev.Seq] = true
		case last[ev.Key] != 0:
			merged++
			c.excused[ev.Seq] = true
		default:
			last[ev.Key] = ev.Seq
		}
	}
	if g.Merged != merged || g.Dropped != dropped || merged+dropped == 0 {
		c.fail("got %d merged and %d dropped in %d..%d, want %d and %d", g.Merged, g.Dropped, g.From, g.To, merged, dropped)
	}
}
