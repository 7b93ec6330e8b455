package loadtest

import "fmt"

// span is a range of event numbers, both included.
type span struct{ first, last int64 }

// tracker checks the order of one stream's events, by the published numbers
// and by the ids. Each event is lost (never came), repeated (came before) or
// disordered (came after a later one) by its number; by ids, an event whose
// sequence is not above the last one's is repeated or disordered.
type tracker struct {
	next    int64  // the number expected; 0 before the first if any may be it
	missing []span // passed over so far, ascending; nil in a faultless stream
	seq     uint64 // of the last id
	epoch   int32
	lastID  string
	faulty  bool
	gaps    []gap // announced so far; nil in most streams
	taking  *taking
}

// maxSpans bounds what a tracker remembers of a very broken stream; further
// gaps are counted as lost at once.
const maxSpans = 1024

// faults counts what went wrong.
type faults struct {
	// Lost counts what never came and was not announced as missing.
	Lost       int64 `json:"lost"`
	Repeated   int64 `json:"repeated"`
	Disordered int64 `json:"disordered"`
	Altered    int64 `json:"altered"` // other data than was published
	Unasked    int64 `json:"unasked"` // the stream's filter does not take it
	// PublishedTwice counts deliveries of events that the publisher sent again, as
	// the server had not answered. They are no fault.
	PublishedTwice int64 `json:"published_twice"`
	// Announced counts deliveries that never came and that a gap or reset
	// frame on their stream stands for. They are no fault.
	Announced int64 `json:"announced"`
}

func (f faults) total() int64 { return f.Lost + f.Repeated + f.Disordered + f.Altered + f.Unasked }

func (f *faults) add(g faults) {
	f.Lost += g.Lost
	f.Repeated += g.Repeated
	f.Disordered += g.Disordered
	f.Altered += g.Altered
	f.Unasked += g.Unasked
	f.PublishedTwice += g.PublishedTwice
	f.Announced += g.Announced
}

// expected takes an event with a number and an id if it is just the one to
// come, which is the short way for nearly all, and reports whether it was.
func (k *tracker) expected(r *record) bool {
	if r.n != k.next || r.seq <= k.seq || r.epoch != k.epoch || !r.hasID {
		return false
	}
	k.next, k.seq, k.lastID = k.taking.from(r.n+1), r.seq, r.id
	return true
}

// mark takes an event with a number. retried tells which numbers were
// published more than once.
func (k *tracker) mark(r *record, f *faults, retried []span) (fault string) {
	expected := k.next
	if r.n == k.next || k.next == 0 {
		k.next = k.taking.from(r.n + 1)
		return k.id(r, f, false)
	}
	switch {
	case !k.taking.takes(r.n):
		f.Unasked++
		fault = "is not the filter's"
		k.id(r, f, true)
	case r.n > k.next:
		if len(k.missing) < maxSpans {
			k.missing = append(k.missing, span{k.next, r.n - 1})
		} else {
			f.Lost += k.taking.count(k.next, r.n-1)
		}
		k.next = k.taking.from(r.n + 1)
		if len(k.gaps) > 0 { // settle tells whether all was announced
			return k.id(r, f, false)
		}
		fault = "passes some over"
		k.id(r, f, false)
	case k.found(r.n):
		f.Disordered++
		fault = "is late"
		k.id(r, f, true)
	case r.seq > k.seq && r.epoch == k.epoch && within(retried, r.n):
		f.PublishedTwice++
		return k.id(r, f, true)
	default:
		f.Repeated++
		fault = "came before"
		k.id(r, f, true)
	}
	k.faulty = true
	return fmt.Sprintf("event %d (id %q) came where %d was expected: it %s", r.n, r.id, expected, fault)
}

// id takes the id of any frame. counted says that the event has been counted
// by its number already.
func (k *tracker) id(r *record, f *faults, counted bool) (fault string) {
	if !r.hasID {
		return ""
	}
	last := k.lastID
	k.lastID = r.id
	if r.epoch == 0 || r.epoch != k.epoch {
		k.epoch, k.seq = r.epoch, r.seq
		return ""
	}
	switch {
	case r.seq > k.seq:
		k.seq = r.seq
		return ""
	case r.seq == k.seq && r.kind == kindMoved:
		return ""
	case counted:
	case r.seq == k.seq:
		f.Repeated++
	default:
		f.Disordered++
	}
	k.faulty = true
	return fmt.Sprintf("id %q came after id %q", r.id, last)
}

// found takes n out of the missing numbers and reports whether it was there.
func (k *tracker) found(n int64) bool {
	for i, s := range k.missing {
		if n < s.first || n > s.last {
			continue
		}
		var rest []span
		if s.first < n {
			rest = append(rest, span{s.first, n - 1})
		}
		if n < s.last {
			rest = append(rest, span{n + 1, s.last})
		}
		k.missing = append(k.missing[:i:i], append(rest, k.missing[i+1:]...)...)
		return true
	}
	return false
}

// lost returns how many events have not come if the last one published is
// last; 0 means that the last one is not known.
func (k *tracker) lost(last int64) (n int64) {
	for _, s := range k.missing {
		n += k.taking.count(s.first, s.last)
	}
	if k.next > 0 && last >= k.next {
		n += k.taking.count(k.next, last)
	}
	return n
}

func within(spans []span, n int64) bool {
	for _, s := range spans {
		if n >= s.first && n <= s.last {
			return true
		}
	}
	return false
}
