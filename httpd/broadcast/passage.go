package broadcast

import (
	"slices"
	"sort"
	"strings"
	"sync"
)

// A passage is a run of the journal, framed for one format, unfiltered. All
// streams that resume inside it share it.
type passage struct {
	// Static after construction.
	after, end uint64 // it has what the journal holds with after < sequence <= end
	data       []byte
	marks      []frameMark // of its frames, in order
	about      []about     // of the same
	events     []*Event    // the same; nil if no filter was in use

	once  sync.Once
	names map[nameKey][]uint32 // set by once: places of frames by each of their names

	mu       sync.Mutex
	extracts map[*feed]*extract // guarded by mu; what several streams of a feed share

	// Guarded by shelf.mu.
	grown  int    // bytes of extracts
	used   uint64 // when it was last asked for, as a number that grows
	second uint32 // the same, in seconds of the hub's clock
}

// A frameMark is one frame of a passage.
type frameMark struct {
	seq uint64
	end uint32 // where it ends in data
}

// about is what a selection looks at.
type about struct{ typ, domain, entity string }

const (
	passageEvents = 256       // passages end at multiples of it, so that they fit together
	passageBytes  = 256 << 10 // or earlier, after this much
	frameExtra    = 160       // bytes that a frame of a passage takes besides its own
	eventExtra    = 200       // bytes that an event of it takes besides its text
	passageKept   = 10        // seconds for which a passage is kept unused
)

// size returns about how many bytes the passage holds: events are taken to be
// as long as their frames. It is called with shelf.mu held.
func (p *passage) size() int {
	n := len(p.data) + frameExtra*(1+len(p.marks)) + p.grown
	if p.events != nil {
		n += len(p.data) + eventExtra*len(p.events)
	}
	return n
}

// between returns the places of the frames with after < sequence <= to, as a
// range whose end is not part of it.
func (p *passage) between(after, to uint64) (from, end int) {
	place := func(seq uint64) int {
		return sort.Search(len(p.marks), func(i int) bool { return p.marks[i].seq > seq })
	}
	return place(after), place(to)
}

// start returns where in data a frame begins, or the last one ends.
func (p *passage) start(place int) int {
	if place == 0 {
		return 0
	}
	return int(p.marks[place-1].end)
}

// match appends those of the places from..to, to excluded, that a selection
// wants. keys are those of the selection.
func (p *passage) match(dst []uint32, sel *Selection, keys []nameKey, from, to int) []uint32 {
	wants := func(i int) bool {
		a := &p.about[i]
		return sel.Matches(a.typ, a.domain, a.entity)
	}
	if keys == nil {
		for i := from; i < to; i++ {
			if wants(i) {
				dst = append(dst, uint32(i))
			}
		}
		return dst
	}
	p.once.Do(p.makeNames)
	for _, k := range keys {
		for _, i := range p.names[k] {
			if int(i) >= from && int(i) < to && wants(int(i)) {
				dst = append(dst, i)
			}
		}
	}
	if len(keys) > 1 {
		slices.Sort(dst)
	}
	return dst
}

// makeNames is the counterpart of feedIndex: there events find feeds, here
// feeds find events.
func (p *passage) makeNames() {
	p.names = make(map[nameKey][]uint32, len(p.about)+16)
	for i, a := range p.about {
		part, _, _ := strings.Cut(a.entity, ".")
		for _, k := range [...]nameKey{{'e', a.entity}, {'p', part}, {'d', a.domain}, {'t', a.typ}} {
			p.names[k] = append(p.names[k], uint32(i))
		}
	}
}

// A shelf holds passages, up to a number of bytes.
type shelf struct {
	most int // bytes

	mu sync.Mutex
	// Guarded by mu.
	passages map[*channel][]*passage // by place; they do not overlap
	bytes    int
	clock    uint64 // counts uses
}

// at returns the passage that goes on behind pos, or nil. With filters, one that
// has no events is taken off the shelf: it must be read again.
func (s *shelf) at(ch *channel, pos uint64, second uint32, filters bool) *passage {
	s.mu.Lock()
	defer s.mu.Unlock()
	list := s.passages[ch]
	i := sort.Search(len(list), func(i int) bool { return list[i].end > pos })
	if i == len(list) || list[i].after > pos {
		return nil
	}
	if filters && list[i].events == nil && len(list[i].marks) > 0 {
		s.bytes -= list[i].size()
		s.passages[ch] = slices.Delete(list, i, i+1)
		return nil
	}
	s.clock++
	list[i].used, list[i].second = s.clock, second
	return list[i]
}

// room returns what lies around pos without being on the shelf: from the end
// of the passage before it to the start of the one behind it.
func (s *shelf) room(ch *channel, pos uint64) (from, to uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	list := s.passages[ch]
	i := sort.Search(len(list), func(i int) bool { return list[i].after > pos })
	to = ^uint64(0)
	if i < len(list) {
		to = list[i].after
	}
	if i > 0 {
		from = list[i-1].end
	}
	return from, to
}

// add puts a passage on the shelf, and takes others off it that were not used
// for longest. One that overlaps another is left out: it came a moment late.
func (s *shelf) add(ch *channel, p *passage, second uint32) {
	s.mu.Lock()
	defer s.mu.Unlock()
	list := s.passages[ch]
	i := sort.Search(len(list), func(i int) bool { return list[i].end > p.after })
	if i < len(list) && list[i].after < p.end {
		return
	}
	s.clock++
	p.used, p.second = s.clock, second
	s.passages[ch] = slices.Insert(list, i, p)
	for s.bytes += p.size(); s.bytes > s.most; {
		if !s.dropOldest(p) {
			return
		}
	}
}

// grow notes that a passage holds n bytes more, if it is on the shelf.
func (s *shelf) grow(p *passage, n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, list := range s.passages {
		i := sort.Search(len(list), func(i int) bool { return list[i].after >= p.after })
		if i < len(list) && list[i] == p {
			p.grown += n
			s.bytes += n
		}
	}
	for s.bytes > s.most && s.dropOldest(p) {
	}
}

func (s *shelf) dropOldest(but *passage) bool {
	var from *channel
	at := 0
	for ch, list := range s.passages {
		for i, p := range list {
			if p != but && (from == nil || p.used < s.passages[from][at].used) {
				from, at = ch, i
			}
		}
	}
	if from == nil {
		return false
	}
	s.bytes -= s.passages[from][at].size()
	s.passages[from] = slices.Delete(s.passages[from], at, at+1)
	return true
}

// forget takes off what nobody asked for lately.
func (s *shelf) forget(second uint32) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for ch, list := range s.passages {
		list = slices.DeleteFunc(list, func(p *passage) bool {
			old := second >= p.second+passageKept
			if old {
				s.bytes -= p.size()
			}
			return old
		})
		if s.passages[ch] = list; len(list) == 0 {
			delete(s.passages, ch)
		}
	}
}
