package journal

import (
	"context"
	"errors"
	"fmt"
	"math"
	"sort"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"carillon/runtime"
)

const (
	// A reader asks for that many messages and bytes at once; the bytes must
	// hold the longest message.
	fetchMost = 1024
	fetchSize = 2 * MaxEvent

	// fetchTimeout bounds the wait for the next message of a fetch.
	fetchTimeout = 20 * time.Second

	// readerIdle is how long a reader's consumer outlives its last fetch: a
	// receiver slower than that gets a new one.
	readerIdle = time.Minute
)

// A reading tells what read reads.
type reading struct {
	stream       string
	after, upTo  uint64 // of sequences
	subjects     string // empty for all
	lastPerEvery bool   // the last of each subject only; after is not used
}

func readRange(after, upTo uint64) *reading {
	return &reading{stream: streamName, after: after, upTo: upTo}
}

// errLapsed tells that a consumer is gone, and a new one has to go on.
var errLapsed = errors.New("the reader's consumer is gone")

// read calls fn with the messages of a reading in order, until fn returns
// false; r.after keeps where it is. The payload is fn's to keep.
func (e *engine) read(ctx context.Context, r *reading, fn func(seq uint64, subject string, payload []byte) bool) error {
	for tries := 0; r.after < r.upTo; tries++ {
		before := r.after
		err := e.readSome(ctx, r, fn)
		if r.after > before {
			tries = 0
		}
		if !errors.Is(err, errLapsed) || tries == 3 || r.lastPerEvery {
			return err
		}
	}
	return nil
}

// readSome reads with one consumer.
func (e *engine) readSome(ctx context.Context, r *reading, fn func(seq uint64, subject string, payload []byte) bool) error {
	config := jetstream.ConsumerConfig{
		AckPolicy: jetstream.AckNonePolicy, MemoryStorage: true, InactiveThreshold: readerIdle,
		FilterSubject: r.subjects, DeliverPolicy: jetstream.DeliverByStartSequencePolicy, OptStartSeq: r.after + 1,
	}
	if r.lastPerEvery {
		config.DeliverPolicy, config.OptStartSeq = jetstream.DeliverLastPerSubjectPolicy, 0
	}
	consumer, err := e.js.CreateConsumer(ctx, r.stream, config)
	if err != nil {
		return err
	}
	name := consumer.CachedInfo().Name
	f := fetcher{nc: e.nc, inbox: e.nc.NewInbox(), messages: make(chan *nats.Msg, fetchMost+16)}
	f.next = "$JS.API.CONSUMER.MSG.NEXT." + r.stream + "." + name
	sub, err := f.nc.ChanSubscribe(f.inbox+".*", f.messages)
	if err != nil {
		return err
	}
	defer func() {
		sub.Unsubscribe()
		f.nc.Publish("$JS.API.CONSUMER.DELETE."+r.stream+"."+name, nil)
	}()
	for {
		m, seq, err := f.fetch(ctx)
		if m == nil || err != nil || seq > r.upTo {
			return err
		}
		r.after = seq
		if !fn(seq, m.Subject, m.Data) || seq == r.upTo {
			return nil
		}
	}
}

// A fetcher gets a consumer's messages, one request for many after the other.
type fetcher struct {
	nc       *nats.Conn
	next     string // where requests go
	inbox    string // where messages and the ends of requests arrive
	messages chan *nats.Msg
	requests int // sent so far, part of the last one's inbox
	left     int // messages that the last request may still bring
	received uint64
}

var fetchRequest = []byte(fmt.Sprintf(`{"batch":%d,"max_bytes":%d,"no_wait":true}`, fetchMost, fetchSize))

// fetch returns the next message and its sequence, or nil at the end.
func (f *fetcher) fetch(ctx context.Context) (*nats.Msg, uint64, error) {
	for {
		if f.left == 0 {
			f.requests++
			f.left = fetchMost
			if err := f.nc.PublishRequest(f.next, f.inbox+"."+strconv.Itoa(f.requests), fetchRequest); err != nil {
				return nil, 0, err
			}
		}
		m, err := f.receive(ctx)
		if err != nil {
			return nil, 0, err
		}
		if seq, count, ok := delivered(m.Reply); ok {
			f.left--
			if f.received++; count != f.received {
				return nil, 0, fmt.Errorf("%w: message %d came where %d was due", errLapsed, count, f.received)
			}
			return m, seq, nil
		}
		status := m.Header.Get("Status")
		switch {
		case !strings.HasSuffix(m.Subject, "."+strconv.Itoa(f.requests)): // of a request before
		case status == "404":
			return nil, 0, nil
		case status == "409" && m.Header.Get("Description") == "Batch Completed", status == "408":
			f.left = 0
		default:
			return nil, 0, fmt.Errorf("%w: status %s %s", errLapsed, status, m.Header.Get("Description"))
		}
	}
}

func (f *fetcher) receive(ctx context.Context) (*nats.Msg, error) {
	if len(f.messages) > 0 { // the common case, without a timer
		if m := <-f.messages; m != nil {
			return m, nil
		}
	}
	timeout := time.NewTimer(fetchTimeout)
	defer timeout.Stop()
	select {
	case m, ok := <-f.messages:
		if !ok {
			return nil, nats.ErrConnectionClosed
		}
		return m, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	case <-timeout.C:
		return nil, errors.New("reading: the event store does not answer")
	}
}

// delivered parses a delivered message's reply address, $JS.ACK.<stream>.
// <consumer>.<deliveries>.<sequence>.<of this consumer>.<time>.<pending>.
func delivered(reply string) (seq, count uint64, ok bool) {
	rest, ok := strings.CutPrefix(reply, "$JS.ACK.")
	for range 3 {
		_, rest, _ = strings.Cut(rest, ".")
	}
	first, rest, _ := strings.Cut(rest, ".")
	second, _, found := strings.Cut(rest, ".")
	if !ok || !found {
		return 0, 0, false
	}
	seq, err := strconv.ParseUint(first, 10, 64)
	count, err2 := strconv.ParseUint(second, 10, 64)
	return seq, count, err == nil && err2 == nil
}

// Read calls fn with the events after a sequence, in order, up to the last one
// at the time of the call, until fn returns false. It takes what retention
// left, and outlives the server's being started again. When it passes over
// sequences, Bounds knows by then how far retention went.
func (j *Journal) Read(ctx context.Context, after uint64, fn func(*runtime.Event) bool) error {
	return j.readEvents(ctx, readRange(after, j.durable.Load()), fn)
}

// readPatience is how long reading waits for the server to come back.
const readPatience = 10 * time.Second

func (j *Journal) readEvents(ctx context.Context, r *reading, fn func(*runtime.Event) bool) error {
	giveUp := time.Now().Add(readPatience)
	for {
		before := r.after
		err := j.readOnce(ctx, r, fn)
		if err == nil {
			return nil
		}
		if r.after > before {
			giveUp = time.Now().Add(readPatience)
		}
		if r.lastPerEvery || ctx.Err() != nil || errors.Is(err, ErrClosed) || time.Now().After(giveUp) {
			return fmt.Errorf("reading the journal: %w", err)
		}
		select {
		case <-time.After(readPatience / 200):
		case <-ctx.Done():
		}
	}
}

// readOnce reads from the server that runs now. An event that can't be
// understood is logged and passed over, as it would be for ever.
func (j *Journal) readOnce(ctx context.Context, r *reading, fn func(*runtime.Event) bool) error {
	eng, err := j.engine()
	if err != nil {
		return err
	}
	whole := r.subjects == "" && !r.lastPerEvery
	before, stopped := r.after, false
	err = eng.read(ctx, r, func(seq uint64, subject string, payload []byte) bool {
		if whole && seq != before+1 {
			j.forgetBounds()
		}
		before = seq
		ev, err := parseEvent(seq, subject, payload)
		if err != nil {
			j.log.Error("journal: passing over an unreadable event", "seq", seq, "error", err)
			return true
		}
		stopped = !fn(ev)
		return !stopped
	})
	if whole && !stopped && r.after < r.upTo {
		j.forgetBounds()
	}
	return err
}

// forgetBounds lets the next Bounds look anew. Whoever reads and finds events
// missing asks Bounds whether retention took them: it must know of that.
func (j *Journal) forgetBounds() {
	j.bounds.Lock()
	defer j.bounds.Unlock()
	j.bounds.at = time.Time{}
}

// Last calls fn with the last state_changed event of each entity that the
// journal still holds, in the order of their sequences; a removed entity's has
// no new state. It may run ahead of Tail and Bounds by what is just being
// stored.
func (j *Journal) Last(ctx context.Context, fn func(*runtime.Event)) error {
	r := &reading{stream: streamName, upTo: math.MaxUint64, subjects: stateSubjects, lastPerEvery: true}
	return j.readEvents(ctx, r, func(ev *runtime.Event) bool {
		fn(ev)
		return true
	})
}

// SeqAt returns the sequence before the first event that happened at t or
// later: the journal's last one when there is none, and 0 when that event is
// the first that retention left, as removed ones may have happened since t, too.
// It searches by halves, so events whose times are out of order, after a step of
// the clock, may mislead it.
func (j *Journal) SeqAt(ctx context.Context, t time.Time) (after uint64, err error) {
	eng, err := j.engine()
	if err != nil {
		return 0, err
	}
	first, last := j.Bounds()
	micros := t.UnixMicro()
	n := sort.Search(int(last+1-first), func(i int) bool {
		if err != nil {
			return true
		}
		var m *jetstream.RawStreamMsg
		m, err = eng.stream.GetMsg(ctx, first+uint64(i), jetstream.WithGetMsgSubject(allSubjects))
		if errors.Is(err, jetstream.ErrMsgNotFound) {
			err = nil
			return true // nothing behind it
		}
		if err != nil {
			return true
		}
		var n note
		_, n, err = parsePayload(m.Data)
		return n.micros >= micros
	})
	if err != nil {
		return 0, fmt.Errorf("finding the events since %v: %w", t, err)
	}
	if n == 0 && first <= last {
		return 0, nil
	}
	return first + uint64(n) - 1, nil
}
