package sse

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
)

// findings reads a stream and returns a line for each frame's verdict that
// says something.
func findings(c *Continuity, stream string) (lines []string) {
	r := Reader{On: func(f Frame) {
		v := c.Take(f)
		line := [...]string{"", "event", "beat", "gap", "reset", "fault"}[v.Finding]
		if v.Finding >= Gap {
			line += fmt.Sprintf(" %d-%d %s", v.From, v.To, v.Reason)
			if v.Again != strings.HasPrefix(v.Reason, "event ") {
				line += " (again is wrong)"
			}
		}
		if line != "" {
			lines = append(lines, line)
		}
	}}
	r.Write([]byte(stream))
	return lines
}

func ev(seq int) string  { return fmt.Sprintf("id: abc-%d\ndata: x\n\n", seq) }
func pos(seq int) string { return fmt.Sprintf("id: abc-%d\n\n", seq) }
func gapFrame(id, from, to int, more string) string {
	head := ""
	if id > 0 {
		head = fmt.Sprintf("id: abc-%d\n", id)
	}
	return head + fmt.Sprintf("event: gap\ndata: {\"from\":%d,\"to\":%d,\"reason\":\"aged_out\"%s}\n\n", from, to, more)
}

const resetFrame = "event: reset\ndata: {\"epoch\":\"xyz\",\"head\":3,\"reason\":\"epoch\"}\n\n"

func TestContinuity(t *testing.T) {
	for _, c := range []struct {
		name, stream, want string
		total              Totals
		at                 string
	}{
		{"whole", pos(4) + ev(5) + ev(6) + pos(6), "beat, event, event, beat", Totals{Events: 2, Beats: 2}, "abc-6"},
		{"greeting and pings", ": hi\n\nretry: 5\n\ndata: ping\n\n" + ev(5) + "data: ping\n\n", "event", Totals{Events: 1, Unplaced: 2}, "abc-5"},
		{"selective", ev(5) + ev(9) + pos(20) + ev(21), "event, event, beat, event", Totals{Events: 3, Beats: 1, Skipped: 3 + 11}, "abc-21"},
		{"repeated", ev(5) + ev(5), "event, fault 0-0 event 5 came again", Totals{Events: 1, Faults: 1}, "abc-5"},
		{"repeated after a beat", ev(5) + pos(7) + ev(7), "event, beat, fault 0-0 event 7 came again", Totals{Events: 1, Beats: 1, Skipped: 2, Faults: 1}, "abc-7"},
		{"backwards", ev(5) + ev(7) + ev(6) + ev(8), "event, event, fault 0-0 event 6 came after 7, event", Totals{Events: 3, Skipped: 1, Faults: 1}, "abc-8"},
		{"beat backwards", ev(5) + pos(4), "event, fault 0-0 the beat 4 came after 5", Totals{Events: 1, Faults: 1}, "abc-5"},
		{"gap", ev(5) + gapFrame(8, 6, 8, "") + ev(9), "event, gap 6-8 aged_out, event", Totals{Events: 2, Gaps: 1, Missing: 3}, "abc-9"},
		{"gap without id, snapshot", ev(5) + gapFrame(0, 6, 8, "") + "data: state\n\n" + pos(9), "event, gap 6-8 aged_out, beat",
			Totals{Events: 1, Unplaced: 1, Beats: 1, Gaps: 1, Missing: 3, Skipped: 1}, "abc-9"},
		{"conflated", ev(5) + gapFrame(5, 6, 20, `,"merged":12`) + ev(18) + ev(20) + ev(21), "event, gap 6-20 aged_out, event, event, event",
			Totals{Events: 4, Gaps: 1, Missing: 12}, "abc-21"},
		{"gap reaching back", ev(5) + gapFrame(8, 5, 8, ""), "event, fault 0-0 the gap 5 to 8 stands for what came before it, up to 5", Totals{Events: 1, Faults: 1}, "abc-5"},
		{"gap told again", ev(5) + gapFrame(0, 6, 8, "") + gapFrame(0, 6, 9, "") + pos(10), "event, gap 6-8 aged_out, gap 6-9 aged_out, beat",
			Totals{Events: 1, Beats: 1, Gaps: 2, Missing: 4, Skipped: 1}, "abc-10"},
		{"conflated, cut off and told again", ev(5) + gapFrame(0, 6, 20, `,"merged":9`) + ev(18) + gapFrame(0, 19, 25, `,"merged":2,"dropped":1`) + ev(25),
			"event, gap 6-20 aged_out, event, gap 19-25 aged_out, event", Totals{Events: 3, Gaps: 2, Missing: 12}, "abc-25"},
		{"gap of nothing", ev(5) + gapFrame(8, 8, 6, ""), "event, fault 0-0 the gap \"{\\\"from\\\":8,\\\"to\\\":6,\\\"reason\\\":\\\"aged_out\\\"}\" does not tell what is missing",
			Totals{Events: 1, Faults: 1}, "abc-5"},
		{"reset", ev(5) + resetFrame + "id: xyz-3\n\nid: xyz-4\ndata: y\n\n", "event, reset 0-3 epoch, beat, event", Totals{Events: 2, Beats: 1, Resets: 1}, "xyz-4"},
		{"another epoch, silently", ev(5) + "id: xyz-4\ndata: y\n\nid: xyz-5\ndata: y\n\n", "event, fault 0-0 the epoch changed from abc to xyz without a reset, event",
			Totals{Events: 2, Faults: 1}, "xyz-5"},
		{"foreign id", "id: 77\ndata: x\n\n", `fault 0-0 the id "77" has not the form <epoch>-<sequence>`, Totals{Faults: 1}, ""},
		{"reset alone", ev(5) + resetFrame, "event, reset 0-3 epoch", Totals{Events: 1, Resets: 1}, ""},
	} {
		var k Continuity
		got := strings.Join(findings(&k, c.stream), ", ")
		if got != c.want || k.Totals() != c.total {
			t.Errorf("%s: got %s, %+v, want %s, %+v", c.name, got, k.Totals(), c.want, c.total)
		}
		at := ""
		if epoch, seq, ok := k.Position(); ok {
			at = FormatID(epoch, seq)
		}
		if at != c.at {
			t.Errorf("%s: got position %q, want %q", c.name, at, c.at)
		}
	}
}

// A faultless stream of a random selection, with beats and gaps, cut at random
// points and resumed after the last complete frame, has no fault, and all
// sequences are accounted for; spoilt by a swap, a repetition or a rewind, it has one.
func TestContinuityOverConnections(t *testing.T) {
	for seed := range uint64(200) {
		r := rand.New(rand.NewPCG(seed, 9))
		var frames []string
		seq := 1
		frames = append(frames, pos(seq))
		for range 60 {
			switch seq++; r.IntN(6) {
			case 0:
				frames = append(frames, pos(seq))
			case 1:
				to := seq + r.IntN(5)
				frames = append(frames, gapFrame(to, seq, to, ""))
				seq = to
			case 2: // somebody else's
			default:
				frames = append(frames, ev(seq))
			}
		}
		frames = append(frames, pos(seq))
		var c Continuity
		reader := Reader{On: func(f Frame) { c.Take(f) }}
		for at := 0; at < len(frames); {
			n := 1 + r.IntN(len(frames)-at)
			bytes := strings.Join(frames[at:at+n], "")
			cut := r.IntN(len(frames[at+n-1]) - 1) // of the last frame: not its last line
			reader.Reset()
			reader.Write([]byte(bytes[:len(bytes)-len(frames[at+n-1])+cut]))
			at += n - 1
			if at == len(frames)-1 {
				reader.Reset()
				reader.Write([]byte(frames[at]))
				break
			}
		}
		total := c.Totals()
		if _, last, _ := c.Position(); total.Faults > 0 || int(last) != seq || total.Events+total.Missing+total.Skipped != uint64(seq-1) {
			t.Errorf("seed %d: got %+v at %d, want no fault and the %d sequences behind 1", seed, total, last, seq-1)
		}
		spoil(t, r, frames, seed)
	}
}

func spoil(t *testing.T, r *rand.Rand, frames []string, seed uint64) {
	t.Helper()
	var events []int
	for i, f := range frames {
		if strings.HasSuffix(f, "data: x\n\n") {
			events = append(events, i)
		}
	}
	i := r.IntN(len(events) - 1)
	a, b := events[i], events[i+1]
	bad := append([]string(nil), frames...)
	switch seed % 3 {
	case 0:
		bad[a], bad[b] = bad[b], bad[a]
	case 1:
		bad[b] = bad[a]
	default:
		bad = append(bad[:b+1:b+1], append([]string{bad[a]}, bad[b+1:]...)...)
	}
	var c Continuity
	findings(&c, strings.Join(bad, ""))
	if c.Totals().Faults == 0 {
		t.Errorf("seed %d: got %+v of a spoilt stream, want a fault", seed, c.Totals())
	}
}

func TestContinuityDoesNotAllocate(t *testing.T) {
	var c Continuity
	seq := uint64(0)
	id := make([]byte, 0, 32)
	take := func() {
		seq++
		id = AppendSeqID(id[:0], "abcdefgh", seq)
		c.Take(Frame{Kind: Message, HasID: true, ID: id})
	}
	take()
	if got := testing.AllocsPerRun(100, take); got > 1 {
		t.Errorf("got %v allocations an event, want at most the epoch", got)
	}
}
