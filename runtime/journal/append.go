package journal

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/nats-io/nats.go"

	"carillon/runtime"
)

const (
	// MaxPending is how many events may be on their way, from Append until
	// they are stored and every Tail took them: enough to keep the disk busy,
	// and some 10 MiB of common events.
	MaxPending = 16384
	// maxPendingSize bounds their JSON, in bytes.
	maxPendingSize = 64 << 20

	// The window is what the server may have unanswered; it drops what comes
	// in beyond 100,000 messages or 128 MiB.
	window     = 8192
	windowSize = 32 << 20

	// A group of events is acknowledged at once, by its last one: an
	// acknowledgement costs as much as storing an event.
	groupMost = 128
	maxGroups = window // as a group holds one event at least

	// maxNames bounds an event's type, entity, domain and source together, in
	// bytes, so that subjects stay within the server's bounds.
	maxNames = 1024

	// ackTimeout is how long the server may take: a disk under load may take
	// seconds to sync.
	ackTimeout = 60 * time.Second
)

// An entry is one call of Append.
type entry struct {
	events []*runtime.Event
	done   func(last uint64, err error)
	size   int    // of its events' JSON
	bad    error  // why it can't be stored, known before trying
	first  uint64 // the sequence of its first event, once that was sent
	sent   int    // events sent to the server
}

func (e *entry) last() uint64 { return e.first + uint64(len(e.events)) - 1 }

// check looks for what the server would refuse.
func (e *entry) check() {
	if len(e.events) == 0 {
		e.bad = errors.New("storing events: there are none")
	}
	for _, ev := range e.events {
		e.size += len(ev.JSON)
		switch {
		case len(ev.JSON) > MaxEvent:
			e.bad = fmt.Errorf("storing events: one of type %s has %d bytes, at most %d are possible", ev.Type, len(ev.JSON), MaxEvent)
		case ev.Type == "" || len(ev.Type)+len(ev.EntityID)+len(ev.Domain)+len(ev.Source) > maxNames:
			e.bad = fmt.Errorf("storing events: type, entity, domain and source of one have %d bytes in all, 1 to %d are possible",
				len(ev.Type)+len(ev.EntityID)+len(ev.Domain)+len(ev.Source), maxNames)
		}
	}
}

// A group is what one acknowledgement is for.
type group struct {
	last         uint64 // the sequence of its last event
	events, size int
	sent         time.Time
}

// A writer is the state of run.
type writer struct {
	head    uint64   // the last sequence that was given
	taken   []*entry // from the queue, not yet wholly sent
	pending []*entry // wholly or partly sent, not yet stored
	groups  []group  // sent and not yet acknowledged
	events  int      // in groups
	size    int      // in groups
	scratch []byte

	blocked error         // why nothing can be appended for now, else nil
	unsound bool          // blocked until the server was started again
	backoff time.Duration // 0 once an event was stored
	retryAt time.Time     // when to try again, if blocked
}

// Append implements runtime.Journal.
func (j *Journal) Append(events []*runtime.Event, done func(last uint64, err error)) {
	e := &entry{events: events, done: done}
	e.check()
	j.mu.Lock()
	for (j.used >= MaxPending || j.usedSize >= maxPendingSize) && !j.closed {
		j.room.Wait()
	}
	if j.closed {
		j.mu.Unlock()
		<-j.done // so that done is called in order
		done(0, ErrClosed)
		return
	}
	j.used += len(events)
	j.usedSize += e.size
	j.queue = append(j.queue, e)
	j.mu.Unlock()
	wake(j.kick)
}

func wake(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// take gets what was queued, when all that was taken before is sent.
func (j *Journal) take() bool {
	if len(j.w.taken) > 0 {
		return true
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	j.w.taken, j.queue = j.queue, nil
	return len(j.w.taken) > 0
}

// send publishes what was queued, as far as the window allows.
func (j *Journal) send() {
	w := j.w
	if err := j.refusal(); err != nil {
		j.failAll(err)
		return
	}
	for w.events < window && w.size < windowSize && j.take() {
		if e := w.taken[0]; e.bad != nil {
			if len(w.groups) > 0 {
				return // first what is before it
			}
			j.failAll(e.bad)
			return
		}
		if err := j.sendGroup(); err != nil {
			j.fail(err)
			return
		}
	}
}

// sendGroup publishes up to groupMost events, the last with a reply address.
func (j *Journal) sendGroup() error {
	w := j.w
	g := group{sent: time.Now()}
	for len(w.taken) > 0 && w.taken[0].bad == nil && g.events < groupMost {
		e := w.taken[0]
		if e.sent == 0 {
			e.first = w.head + 1
			w.pending = append(w.pending, e)
		}
		ev := e.events[e.sent]
		w.scratch = appendPayload(w.scratch[:0], ev, e.sent, len(e.events)-e.sent-1)
		e.sent++
		w.head++
		g.events++
		g.size += len(w.scratch)
		if e.sent == len(e.events) {
			w.taken[0] = nil
			w.taken = w.taken[1:]
		}
		full := g.events == groupMost || g.size+w.size >= windowSize
		reply := ""
		if full || len(w.taken) == 0 || w.taken[0].bad != nil {
			reply = j.eng.inbox
		}
		if err := publish(j.eng.writer, subjectOf(ev), reply, w.scratch); err != nil {
			return err
		}
		if reply != "" {
			break
		}
	}
	g.last = w.head
	w.groups = append(w.groups, g)
	w.events += g.events
	w.size += g.size
	if cap(w.scratch) > 1<<20 {
		w.scratch = nil
	}
	return nil
}

func publish(nc *nats.Conn, subject, reply string, payload []byte) error {
	if reply == "" {
		return nc.Publish(subject, payload)
	}
	return nc.PublishRequest(subject, reply, payload)
}

// acked takes one acknowledgement. The stream stores in order, so that of a
// group's last event, with the expected sequence, stands for the whole group:
// had one been dropped, the last would have got a lower sequence.
func (j *Journal) acked(m *nats.Msg) {
	w := j.w
	if m == nil || len(w.groups) == 0 {
		return // the connection is closed; or it answers what nobody asked
	}
	seq, err := parseAck(m)
	if want := w.groups[0].last; err == nil && seq != want {
		err = fmt.Errorf("the event store gave sequence %d where %d was due", seq, want)
	}
	if err != nil {
		j.fail(err)
		return
	}
	w.events -= w.groups[0].events
	w.size -= w.groups[0].size
	w.groups = w.groups[1:]
	w.backoff = 0
	j.complete(seq)
}

// complete ends the appends that are stored up to seq.
func (j *Journal) complete(seq uint64) {
	w := j.w
	n := 0
	for n < len(w.pending) && w.pending[n].sent == len(w.pending[n].events) && w.pending[n].last() <= seq {
		n++
	}
	if n == 0 {
		return
	}
	stored := w.pending[:n:n]
	if w.pending = w.pending[n:]; len(w.pending) == 0 {
		w.pending = nil // and what it was cut from
	}
	for _, e := range stored {
		for i, ev := range e.events {
			ev.Seq = e.first + uint64(i)
		}
	}
	j.show(stored)
	for _, e := range stored {
		e.done(e.last(), nil)
	}
}

var ackStart = []byte(`{"stream":"` + streamName + `", "seq":`)

func parseAck(m *nats.Msg) (uint64, error) {
	if rest, ok := bytes.CutPrefix(m.Data, ackStart); ok && len(rest) > 1 {
		if seq, err := strconv.ParseUint(string(rest[:len(rest)-1]), 10, 64); err == nil {
			return seq, nil
		}
	}
	var ack struct {
		Seq   uint64 `json:"seq"`
		Error *struct {
			Description string `json:"description"`
		} `json:"error"`
	}
	if len(m.Data) == 0 {
		return 0, fmt.Errorf("the event store does not answer (status %s)", m.Header.Get("Status"))
	}
	if err := json.Unmarshal(m.Data, &ack); err != nil {
		return 0, fmt.Errorf("reading an acknowledgement: %w", err)
	}
	if ack.Error != nil {
		return 0, errors.New(ack.Error.Description)
	}
	return ack.Seq, nil
}
