package loadtest

import (
	"strings"
	"testing"
)

// event makes a record with a number (0 for none) and an id (0 for none).
func event(n int64, epoch int32, seq uint64) record {
	r := record{kind: kindMark, n: n, mine: true, epoch: epoch, seq: seq, hasID: epoch > 0}
	if n == 0 {
		r.kind = kindOther
	}
	if r.hasID {
		r.id = "id"
	}
	return r
}

func moved(epoch int32, seq uint64) record {
	r := event(0, epoch, seq)
	r.kind = kindMoved
	return r
}

func TestTracker(t *testing.T) {
	for _, c := range []struct {
		name    string
		next    int64
		in      []record
		retried []span
		last    int64
		want    faults
	}{
		{"right", 1, []record{event(1, 1, 5), event(2, 1, 7), event(3, 1, 9)}, nil, 3, faults{}},
		{"right without ids", 1, []record{event(1, 0, 0), event(2, 0, 0)}, nil, 2, faults{}},
		{"lost at both ends", 1, []record{event(3, 1, 5), event(4, 1, 6)}, nil, 6, faults{Lost: 4}},
		{"nothing came", 1, nil, nil, 6, faults{Lost: 6}},
		{"first one unknown", 0, []record{event(7, 1, 5), event(9, 1, 6)}, nil, 0, faults{Lost: 1}},
		{"late", 1, []record{event(1, 1, 1), event(4, 1, 4), event(3, 1, 3), event(2, 1, 2), event(5, 1, 5)}, nil, 5, faults{Disordered: 2}},
		{"late and again", 1, []record{event(1, 0, 0), event(3, 0, 0), event(2, 0, 0), event(2, 0, 0)}, nil, 3, faults{Disordered: 1, Repeated: 1}},
		{"again", 1, []record{event(1, 1, 1), event(1, 1, 1), event(2, 1, 2)}, nil, 2, faults{Repeated: 1}},
		{"right numbers, same id", 1, []record{event(1, 1, 5), event(2, 1, 5), event(3, 1, 6)}, nil, 3, faults{Repeated: 1}},
		{"right numbers, id going back", 1, []record{event(1, 1, 5), event(2, 1, 4), event(3, 1, 6)}, nil, 3, faults{Disordered: 1}},
		{"another epoch", 1, []record{event(1, 1, 500), event(2, 2, 1), event(3, 2, 2)}, nil, 3, faults{}},
		{"other events by id", 1, []record{event(0, 1, 5), event(0, 1, 6), event(0, 1, 6), event(0, 1, 3), event(0, 1, 7)}, nil, 0,
			faults{Repeated: 1, Disordered: 1}},
		{"beats", 1, []record{event(1, 1, 5), moved(1, 5), moved(1, 9), moved(1, 9), event(2, 1, 10)}, nil, 2, faults{}},
		{"beat going back", 1, []record{event(1, 1, 5), moved(1, 4)}, nil, 1, faults{Disordered: 1}},
		{"beat ahead of an event", 1, []record{event(1, 1, 5), moved(1, 7), event(2, 1, 6)}, nil, 2, faults{Disordered: 1}},
		{"published twice", 1, []record{event(1, 1, 1), event(2, 1, 2), event(1, 1, 3), event(2, 1, 4), event(3, 1, 5)}, []span{{1, 2}}, 3,
			faults{PublishedTwice: 2}},
		{"published twice and repeated", 1, []record{event(1, 1, 1), event(1, 1, 2), event(1, 1, 2)}, []span{{1, 2}}, 1,
			faults{PublishedTwice: 1, Repeated: 1}},
		{"published twice, not this one", 1, []record{event(1, 1, 1), event(2, 1, 2), event(1, 1, 3)}, []span{{2, 9}}, 2, faults{Repeated: 1}},
	} {
		k := tracker{next: c.next}
		var got faults
		told := false
		for _, r := range c.in {
			if r.kind == kindMark {
				if !k.expected(&r) {
					told = k.mark(&r, &got, c.retried) != "" || told
				}
			} else {
				told = k.id(&r, &got, false) != "" || told
			}
		}
		k.faulty = k.faulty || k.lost(c.last) > 0
		got.Lost += k.lost(c.last)
		if got != c.want || k.faulty != (c.want.total() > 0) || told && !k.faulty {
			t.Errorf("%s: got %+v, faulty %v, want %+v", c.name, got, k.faulty, c.want)
		}
	}
}

// A stream that is broken over and over takes bounded memory, and nothing of
// its losses is forgotten.
func TestTrackerIsBounded(t *testing.T) {
	k := tracker{next: 1}
	var f faults
	const n = 3 * maxSpans
	for i := int64(1); i <= n; i++ {
		r := event(2*i, 1, uint64(i))
		k.mark(&r, &f, nil)
	}
	if len(k.missing) > maxSpans || f.Lost+k.lost(2*n+10) != n+10 {
		t.Errorf("got %d spans, %d lost, want at most %d, %d", len(k.missing), f.Lost+k.lost(2*n+10), maxSpans, n+10)
	}
}

func TestRequest(t *testing.T) {
	w := bench(t, 1, 100)
	got := string(appendRequest(nil, requestHead(w.target, "T", []string{"A: b"}), "x-1"))
	want := "GET /api/stream HTTP/1.1\r\nHost: 127.0.0.1:1\r\nAccept: text/event-stream\r\nUser-Agent: carillon-loadtest\r\n" +
		"Authorization: Bearer T\r\nA: b\r\nLast-Event-ID: x-1\r\n\r\n"
	if got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if got := string(appendRequest(nil, requestHead(w.target, "", nil), "")); strings.Contains(got, "Last-Event-ID") || strings.Contains(got, "Authorization") {
		t.Errorf("got %q, want neither id nor token", got)
	}
}
