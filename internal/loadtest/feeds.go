package loadtest

import "strings"

// feed is what streams with the same selection and filter share.
type feed struct {
	request []byte // head of the request, but for Last-Event-ID and the empty line
	tape    *tape
	taking  *taking
}

// Tapes of one worker keep tapeKeep bytes together and each smallestKeep at
// least. A stream that is not further behind the newest bytes is checked by
// comparison: 8 MiB is what servers keep in memory for theirs.
const tapeKeep, smallestKeep = 8 << 20, 64 << 10

// feeds makes the feeds that a worker's streams need.
type feeds struct {
	w    *worker
	made map[[2]int]*feed // by selection and filter
}

func newFeeds(w *worker) *feeds { return &feeds{w, map[[2]int]*feed{}} }

// of returns the feed of the stream with the number: streams take selections
// and filters by turns.
func (f *feeds) of(number int) *feed {
	t := f.w.run
	var at [2]int
	if n := len(t.o.Selections); n > 0 {
		at[0] = number % n
	}
	if t.spread != nil {
		at[1] = number % t.o.Filters
	}
	if made := f.made[at]; made != nil {
		return made
	}
	made := &feed{}
	queries := []string{t.target.RawQuery}
	if len(t.o.Selections) > 0 {
		queries = append(queries, t.o.Selections[at[0]])
	}
	if t.spread != nil {
		made.taking = &taking{*t.spread, int64(at[1])}
		queries = append(queries, t.spread.query(int64(at[1])))
	}
	u := *t.target
	u.RawQuery = strings.Trim(strings.Join(queries, "&"), "&")
	made.request = requestHead(&u, t.o.Token, t.o.Header)
	f.made[at] = made
	f.w.feeds = append(f.w.feeds, made)
	return made
}

// share gives the feeds their tapes, once they are all there.
func (f *feeds) share() {
	t, size := f.w.run, f.w.run.o.Size
	if t.o.ListenOnly {
		size = -1
	}
	for _, made := range f.w.feeds {
		made.tape = newTape(t.runID, size, max(tapeKeep/len(f.w.feeds), smallestKeep))
		made.tape.spread, made.tape.order = t.spread, f.w.order
	}
}
