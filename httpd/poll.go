package httpd

import (
	"context"
	"fmt"
	"slices"
	"time"

	"carillon/httpd/broadcast"
	"carillon/internal/sse"
	"carillon/runtime"
)

const (
	// longestWait bounds how long a poll waits; proxies cut longer requests.
	longestWait = time.Minute
	// maxBatch and maxBatchBytes bound the events of one answer.
	maxBatch      = 10_000
	maxBatchBytes = 1 << 20
	// maxReadings bounds the polls that read the journal at once, and
	// readingTime how long one reads before it answers with how far it came.
	maxReadings = 8
	readingTime = time.Second
	// rest is the time between two looks of a waiting poll at events that it did
	// not ask for.
	rest = 10 * time.Millisecond
)

// A batch is the answer to a poll on its way.
type batch struct {
	query
	format  *format
	limit   int
	events  []byte // what stands within the list
	n       int
	payload []byte
	pos     uint64                    // everything up to this sequence is told
	gap     struct{ from, to uint64 } // what is gone before the events; none if to is 0
	reset   string                    // why the id that was given is of no use; empty if it is
	full    bool                      // there is more, for another answer
	trouble trouble                   // what the filter threw
}

// getPoll answers with the events behind an id, for readers whose proxies cut
// streams off. Selection, ids, formats, credentials and snapshots are those of
// streams, and so are the places: a reader may go on in a stream behind "next",
// or here behind the last id of a stream, without loss or repetition.
//
// If nothing of the selection is there, it waits for the first of it. The answer
// names the id to go on behind, which moves whether something matched or not.
func (s *Server) getPoll(c *call) error {
	p, err := readParams(c)
	if err != nil {
		return err
	}
	b, wait, err := s.newBatch(c, p)
	if err != nil {
		return err
	}
	if err := s.useFilter(c, &b.query); err != nil {
		return err
	}
	defer s.releaseFilter(b.selection.Filter)
	if !s.tenants.take(c.who(), b.selection.Filter, s.settings().MaxFiltersPerCredential) {
		return s.later(tooManyFilters)
	}
	defer s.tenants.drop(c.who(), b.selection.Filter)
	if !c.expires.IsZero() {
		wait = min(wait, max(c.expires.Sub(s.now()), 0))
	}
	if err := s.begin(b); err != nil {
		return err
	}
	if err := s.await(c, b, wait); err != nil {
		return err
	}
	c.SetContentType("application/json")
	c.Response.Header.Set("Cache-Control", "no-store")
	c.SetBody(b.appendJSON(nil, s))
	return nil
}

func (s *Server) newBatch(c *call, p params) (*batch, time.Duration, error) {
	b := &batch{}
	var err error
	if b.query, err = p.query(string(c.Request.Header.Peek("Last-Event-ID")), s.settings(), pollParams...); err != nil {
		return nil, 0, err
	}
	wait, err := p.seconds("wait", 0, longestWait)
	if err != nil {
		return nil, 0, err
	}
	if b.limit, err = p.count("limit", maxBatch); err != nil {
		return nil, 0, err
	}
	if b.limit == 0 {
		b.limit = maxBatch
	}
	if b.query.format == "" {
		b.query.format = formatHA
	}
	b.format = s.format(b.query.format)
	return b, wait, nil
}

// begin finds where the batch begins, and what comes before the events.
func (s *Server) begin(b *batch) error {
	point, err := s.locate(b.from)
	if err != nil {
		return err
	}
	lost := point.resume && b.snapshot && point.after+1 < s.First()
	if point.resume && !lost {
		b.pos = point.after
		return nil
	}
	if !b.snapshot {
		b.pos = s.Runtime.Head()
	} else {
		if err := s.fillStates(b); err != nil {
			return err
		}
	}
	switch {
	case lost:
		b.gap.from, b.gap.to = point.after+1, b.pos
	case point.reset != "":
		b.reset = point.reset
	}
	return nil
}

// fillStates fills the batch with a snapshot.
func (s *Server) fillStates(b *batch) error {
	states, at := s.Runtime.Snapshot()
	choice := chooser{sel: b.selection}
	ctx, cancel := context.WithTimeout(context.Background(), requestTime)
	defer cancel()
	if err := choice.decide(ctx, s, states); err != nil {
		return err
	}
	for _, state := range states {
		o := choice.of(state)
		b.trouble.add(o, at)
		if o.takes {
			b.add(b.format.appendState(b.payload[:0], state, at, o.data))
		}
	}
	b.pos, b.full = at, true // what follows is for another answer
	return nil
}

// await fills the batch with what there is, or waits for the first of it.
func (s *Server) await(c *call, b *batch, wait time.Duration) error {
	if err := s.fill(b); err != nil || wait == 0 || b.done() {
		return err
	}
	refused, release := s.places.take(c.visitor, remote(c.RequestCtx), true, s.settings())
	if refused != noReason {
		return s.later(refused)
	}
	defer release()
	over := time.NewTimer(wait)
	defer over.Stop()
	for {
		select {
		case <-s.recent.wait(b.pos):
		case <-over.C:
			return nil
		case <-s.stopped:
			return nil
		}
		if err := s.fill(b); err != nil || b.done() {
			return err
		}
		select {
		case <-time.After(rest):
		case <-s.stopped:
			return nil
		}
	}
}

// done reports whether there is something to tell.
func (b *batch) done() bool { return b.n > 0 || b.full || b.gap.to > 0 || b.reset != "" }

// fill adds what happened behind the batch's position: from memory, or else
// from the journal.
func (s *Server) fill(b *batch) error {
	if b.full {
		return nil
	}
	events, head, ok := s.recent.behind(nil, b.pos)
	if !ok {
		return s.readPast(b)
	}
	ctx, cancel := context.WithTimeout(context.Background(), requestTime)
	defer cancel()
	for part := range slices.Chunk(events, chunk) {
		if err := s.takeAll(ctx, b, part); err != nil || b.full {
			return err
		}
	}
	b.pos = max(b.pos, head)
	return nil
}

// readPast adds what the journal holds behind the batch's position, up to the
// head of this moment, as far as it comes in readingTime.
func (s *Server) readPast(b *batch) error {
	head := s.Runtime.Head()
	if b.pos >= head {
		return nil
	}
	slots := s.readings.of(slow(b.selection.Filter))
	select {
	case slots <- struct{}{}:
		defer func() { <-slots }()
	case <-time.After(readingTime):
		return s.later(tooManyReadings)
	}
	if !b.miss(min(s.First(), head+1)) {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), requestTime)
	defer cancel()
	r := reading{s: s, b: b, ctx: ctx, began: time.Now()}
	err := s.Replay(ctx, b.pos, func(e *runtime.Event) bool { return e.Seq <= head && r.next(e) })
	if r.err == nil && err == nil {
		r.flush()
	}
	switch {
	case r.err != nil:
		return r.err
	case err != nil:
		return fmt.Errorf("%w: reading what the poll asks for: %w", runtime.ErrJournal, err)
	}
	if !b.full && b.miss(min(s.First(), head+1)) { // what aged out since the first look
		b.pos = max(b.pos, head)
	}
	return nil
}

// A reading fills a batch from the journal. What it has read and the batch did
// not take yet are a few events without a hole.
type reading struct {
	s     *Server
	b     *batch
	ctx   context.Context
	began time.Time
	read  []*runtime.Event
	err   error
}

// next reads one more event, or reports false if the batch is full.
func (r *reading) next(e *runtime.Event) bool {
	last := r.b.pos
	if n := len(r.read); n > 0 {
		last = r.read[n-1].Seq
	}
	if e.Seq != last+1 && !(r.flush() && r.b.miss(min(r.s.First(), e.Seq))) {
		return false
	}
	r.read = append(r.read, e)
	return len(r.read) < chunk || r.flush()
}

// flush gives the batch what was read, or reports false if it takes no more.
func (r *reading) flush() bool {
	r.err = r.s.takeAll(r.ctx, r.b, r.read)
	r.read = r.read[:0]
	if time.Since(r.began) >= readingTime {
		r.b.full = true
	}
	return r.err == nil && !r.b.full
}

// miss notes that the events before first are gone. There is one gap in an
// answer, and it comes before the events: a further one waits for the next.
func (b *batch) miss(first uint64) bool {
	if b.pos+1 >= first {
		return true
	}
	if b.n > 0 {
		b.full = true
		return false
	}
	if b.gap.to == 0 {
		b.gap.from = b.pos + 1
	}
	b.gap.to = first - 1
	b.pos = first - 1
	return true
}

// takeAll adds those of the events that the selection has, until the answer is
// full.
func (s *Server) takeAll(ctx context.Context, b *batch, events []*runtime.Event) error {
	outcomes, err := s.decide(ctx, &b.selection, events)
	if err != nil {
		return err
	}
	for i, e := range events {
		if !b.take(e, outcomes[i]) {
			return nil
		}
	}
	return nil
}

// take adds an event if the selection has it, or reports false if the answer is
// full without it.
func (b *batch) take(e *runtime.Event, o outcome) bool {
	if o.takes {
		payload := b.format.appendEvent(b.payload[:0], wrapEvent(e), o.data)
		if b.n > 0 && (b.n == b.limit || len(b.events)+len(payload) > maxBatchBytes) {
			b.full = true
			return false
		}
		b.add(payload)
	}
	b.trouble.add(o, e.Seq)
	b.pos = e.Seq
	return true
}

func (b *batch) add(payload []byte) {
	if b.n > 0 {
		b.events = append(b.events, ',')
	}
	b.events = append(b.events, payload...)
	b.payload = payload
	b.n++
}

// appendJSON writes the answer: {"events", "next", "head", "gap", "reset"}, and
// "filter_error" if there was one.
func (b *batch) appendJSON(dst []byte, s *Server) []byte {
	epoch, head := s.Epoch, s.Runtime.Head()
	dst = append(append(dst, `{"events":[`...), b.events...)
	dst = append(dst, `],"next":"`...)
	dst = sse.AppendSeqID(dst, epoch, b.pos)
	dst = append(dst, `","head":"`...)
	dst = sse.AppendSeqID(dst, epoch, max(head, b.pos))
	dst = append(dst, `","gap":`...)
	if b.gap.to > 0 {
		dst = broadcast.Gap{From: b.gap.from, To: b.gap.to, Reason: broadcast.AgedOut}.AppendJSON(dst)
	} else {
		dst = append(dst, "null"...)
	}
	dst = append(dst, `,"reset":`...)
	if b.reset != "" {
		dst = broadcast.Gap{To: b.pos, Reason: b.reset, Reset: true, Epoch: epoch}.AppendJSON(dst)
	} else {
		dst = append(dst, "null"...)
	}
	if b.trouble.errors > 0 {
		dst = append(dst, `,"filter_error":`...)
		dst = s.told(b.trouble, b.selection.Filter).AppendJSON(dst)
	}
	return append(dst, '}')
}
