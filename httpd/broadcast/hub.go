package broadcast

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	goruntime "runtime"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"carillon/internal/sse"
)

// An Event is what happened, as the hub needs to see it. It never changes.
type Event struct {
	Seq                    uint64 // its place in the journal, above 0
	Type, Domain, EntityID string // "" if it has none
	Key                    string // what Conflate keeps only the last event of, such as an entity's id; "" for each event by itself
	Value                  any    // for Format.Append
}

// A Format is one way to write events. Its functions append to dst and are
// called from several goroutines.
type Format struct {
	Name   string
	Append func(dst []byte, ev *Event) []byte     // the data of one event
	Event  func(ev *Event) string                 // its name on the wire, fit for sse.ValidField; nil or "" for none
	Gap    func(dst []byte, g Gap) []byte         // a gap or reset as the data of an unnamed message, for GapsAsData; nil for none
	Ping   func(dst []byte, now time.Time) []byte // the data of a ping, an unnamed event without id; nil for no pings

	Projected   func(dst []byte, ev *Event, data []byte) []byte // the data of an event for which a filter gave data, JSON; nil for that alone
	FilterError func(dst []byte, e FilterError) []byte          // an error as the data of an unnamed message, for GapsAsData; nil for none

	PingEvery          time.Duration
	PingOnlyWhenSilent bool // only on feeds that had neither event nor ping for PingEvery
}

// A Config says how a Hub is to be. Epoch, Formats, Replay and First are
// needed; the zero value of all else has a meaning.
type Config struct {
	Epoch   string // of the journal; ids are <epoch>-<sequence>
	Formats []Format
	Head    uint64 // the sequence after which Publish begins

	TapeBytes  int           // bytes of encoded frames per format, rounded up to a power of two; 0 for 8 MiB
	SendBuffer int           // bytes that the kernel may hold per stream (SO_SNDBUF, TCP_NOTSENT_LOWAT); 0 for 16 KiB
	Retry      time.Duration // how long a reader is to wait after Drain or Disconnect, at least; up to twice that; 0 for 2 s
	BeatEvery  time.Duration // 0 for 15 s
	Pumps      int           // 0 for one per core
	Readers    int           // goroutines that read the journal at most; 0 for half of the cores, at least 2

	// ReplayBytes bounds what is kept of the journal's encoded events while
	// streams read them; 0 for 64 MiB. It is given back when none does.
	ReplayBytes int

	// Replay calls fn with the events after a sequence that the journal holds,
	// in order, until fn returns false or the journal's end. First returns the
	// first sequence that it still holds, or, if it is empty, the one to come;
	// it must know of all that Replay has left out so far. Events given to fn
	// may be kept.
	// Both are called from several goroutines. An event must be readable before
	// it is given to Publish.
	Replay func(ctx context.Context, after uint64, fn func(*Event) bool) error
	First  func() uint64

	Filters Filters // decides for selections that have a filter; nil: no stream may have one

	Log *slog.Logger     // nil for slog.Default
	Now func() time.Time // nil for time.Now

	portable bool   // all streams on the portable pump
	manual   bool   // no ticks but those of a test
	byHand   bool   // no lane runs but by a test
	backlog  uint64 // 0 for mergeBacklog
	keyless  int    // 0 for maxKeyless
	merged   int    // bytes of one turn of a conflation; 0 for chunkBytes

	laneQueue int // 0 for laneQueue
	feedRefs  int // 0 for maxRefs
}

// A Hub carries events to streams.
type Hub struct {
	// Static after construction.
	cfg     Config
	pumps   []pump // the portable one last
	readers readers
	met     *counters
	birth   time.Time
	stop    context.CancelFunc

	// A place of attaching is held while a connection is taken over, for some ten
	// system calls. When 10,000 streams come back at once, they queue here rather
	// than for mu or for a core, where Publish and all others would stand behind them.
	attaching chan struct{}
	ids       idTable
	decide    func(Filter, Decision) // decided, made once

	head  atomic.Uint64 // sequence of the last event that is on every tape and feed
	clock atomic.Uint32 // seconds since birth, moved by ticks
	idle  atomic.Bool   // a feed lost its last stream; the next tick removes it
	retry atomic.Int64  // Config.Retry, or what SetRetry said
	owned atomic.Int64  // bytes given to Reselect that are not sent yet

	filtering atomic.Int32 // length of filters

	mu sync.Mutex
	// Guarded by mu.
	channels            map[string]*channel
	filters             map[Filter]*use
	lanes               map[string]*lane
	waits               []wait
	deciding            verdict
	failing             []*feed // have errors to tell that came less than a second after the last
	closed              bool
	draining            bool // no stream is to come any more
	lastPump            int
	beaten              time.Time
	openings, collected uint64 // streams opened until the last second, and until the last collection
}

// Errors of Attach that a caller may branch on.
var (
	ErrClosed        = errors.New("the hub is closed")
	ErrUnknownFormat = errors.New("unknown format")
	ErrNoFilters     = errors.New("no stream may have a filter here")
)

// New returns a hub whose pumps run.
func New(cfg Config) (*Hub, error) {
	if err := cfg.complete(); err != nil {
		return nil, err
	}
	ctx, stop := context.WithCancel(context.Background())
	h := &Hub{cfg: cfg, stop: stop, birth: cfg.Now(), attaching: make(chan struct{}, goruntime.GOMAXPROCS(0)),
		channels: make(map[string]*channel), filters: make(map[Filter]*use), lanes: make(map[string]*lane)}
	h.decide = h.decided
	h.beaten = h.birth
	h.ids.byID = make(map[string]*Stream)
	h.head.Store(cfg.Head)
	h.SetRetry(cfg.Retry)
	h.readers = readers{h: h, ctx: ctx, crew: crew{most: cfg.Readers}, shelf: shelf{most: cfg.ReplayBytes, passages: make(map[*channel][]*passage)}}
	h.met = newCounters(h)
	var err error
	if !cfg.portable {
		h.pumps, err = systemPumps(h, cfg.Pumps)
	}
	if err != nil {
		stop()
		return nil, fmt.Errorf("starting the pumps: %w", err)
	}
	h.pumps = append(h.pumps, newPortablePump(h))
	h.met.register()
	if !cfg.manual {
		go h.ticks(ctx)
	}
	return h, nil
}

func (c *Config) complete() error {
	switch {
	case c.Epoch == "" || sse.ValidField(c.Epoch) != nil:
		return fmt.Errorf("epoch %q cannot be part of an id", c.Epoch)
	case len(c.Formats) == 0:
		return errors.New("no format given")
	case c.Replay == nil || c.First == nil:
		return errors.New("no journal given: Replay and First are needed")
	}
	for i, f := range c.Formats {
		same := func(o Format) bool { return o.Name == f.Name }
		if f.Append == nil || slices.ContainsFunc(c.Formats[:i], same) {
			return fmt.Errorf("format %q has no Append or is given twice", f.Name)
		}
		if f.Ping != nil && f.PingEvery <= 0 {
			return fmt.Errorf("format %q has a ping but no PingEvery", f.Name)
		}
	}
	c.TapeBytes = orElse(c.TapeBytes, 8<<20)
	c.SendBuffer = orElse(c.SendBuffer, 16<<10)
	c.BeatEvery = orElse(c.BeatEvery, 15*time.Second)
	c.Pumps = orElse(c.Pumps, goruntime.GOMAXPROCS(0))
	c.Readers = orElse(c.Readers, max(2, goruntime.GOMAXPROCS(0)/2))
	c.ReplayBytes = orElse(c.ReplayBytes, 64<<20)
	c.backlog = orElse(c.backlog, mergeBacklog)
	c.keyless = orElse(c.keyless, maxKeyless)
	c.merged = orElse(c.merged, chunkBytes)
	c.laneQueue = orElse(c.laneQueue, laneQueue)
	c.feedRefs = orElse(c.feedRefs, maxRefs)
	if c.Log == nil {
		c.Log = slog.Default()
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	return nil
}

func orElse[T int | uint64 | time.Duration](v, otherwise T) T {
	if v <= 0 {
		return otherwise
	}
	return v
}

// Head returns the sequence of the last event that was published.
func (h *Hub) Head() uint64 { return h.head.Load() }

// SetRetry changes Config.Retry. 0 stands for 2 s.
func (h *Hub) SetRetry(d time.Duration) { h.retry.Store(int64(orElse(d, defaultRetry))) }

const defaultRetry = 2 * time.Second

// Publish gives events, in order, to all streams that want them. It is called
// from one goroutine at a time and does not wait for any stream. Events whose
// sequence is not above the head are dropped: the hub had them. After Close it
// does nothing.
func (h *Hub) Publish(events []*Event) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed {
		return
	}
	now := h.cfg.Now().UnixNano()
	for _, ev := range events {
		if ev.Seq <= h.head.Load() {
			continue
		}
		for _, ch := range h.channels {
			ch.publish(ev, now)
		}
		h.filter(ev, now)
		h.head.Store(ev.Seq)
		for _, l := range h.lanes {
			l.take(ev)
		}
		h.met.published.Inc()
	}
	for _, l := range h.lanes {
		l.signal()
	}
	h.awaken()
	h.wake()
}

// wake wakes the pumps that were given something. It is called with mu held.
func (h *Hub) wake() {
	for _, p := range h.pumps {
		p.wake()
	}
}

func (ch *channel) publish(ev *Event, now int64) {
	ch.frame, ch.payload = ch.appendFrame(ch.frame[:0], ch.payload, ev)
	ch.last = ref{off: ch.tape.append(ch.frame, ev.Seq, 1), seq: ev.Seq, n: uint32(len(ch.frame)), kind: isEvent}
	ch.quiet = now
	if ch.whole != nil {
		ch.whole.touch()
	}
	ch.matching = ch.index.match(ch.matching[:0], ev)
	for _, f := range ch.matching {
		f.quiet = now
		f.append(ch.last)
	}
}

// fence waits for the send that each pump has under way.
func (h *Hub) fence() {
	for _, p := range h.pumps {
		p.lockSending()
		p.unlockSending()
	}
}

func (h *Hub) halt() {
	for _, p := range h.pumps {
		p.lockSending()
	}
}

func (h *Hub) play() {
	for _, p := range h.pumps {
		p.unlockSending()
	}
}

// Close ends all streams, each on a frame boundary after it got everything that
// is published, or, when ctx is done, as it is. It returns when no connection
// is left, and then reports whether any was cut by ctx.
func (h *Hub) Close(ctx context.Context) error {
	h.mu.Lock()
	h.closed = true
	h.mu.Unlock()
	for _, p := range h.pumps {
		p.drain()
	}
	var err error
	for _, p := range h.pumps {
		select {
		case <-p.ended():
			continue
		case <-ctx.Done():
			err = fmt.Errorf("draining streams: %w", ctx.Err())
		}
		p.abort()
		<-p.ended()
	}
	h.stop()
	h.met.unregister()
	return err
}
