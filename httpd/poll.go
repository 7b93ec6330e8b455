package httpd

import (
	"context"
	"fmt"
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
	c.SetBody(b.appendJSON(nil, s.Epoch, s.Runtime.Head()))
	return nil
}

func (s *Server) newBatch(c *call, p params) (*batch, time.Duration, error) {
	b := &batch{}
	var err error
	if b.query, err = p.query(string(c.Request.Header.Peek("Last-Event-ID")), s.settings().MaxNames); err != nil {
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
		var states []*runtime.State
		states, b.pos = s.Runtime.Snapshot()
		for _, state := range states {
			if takesState(&b.selection, state) {
				b.add(b.format.state(b.payload[:0], state, b.pos))
			}
		}
		b.full = true // what follows is for another answer
	}
	switch {
	case lost:
		b.gap.from, b.gap.to = point.after+1, b.pos
	case point.reset != "":
		b.reset = point.reset
	}
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
	for _, e := range events {
		if !b.take(e) {
			return nil
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
	select {
	case s.readings <- struct{}{}:
		defer func() { <-s.readings }()
	case <-time.After(readingTime):
		return s.later(tooManyReadings)
	}
	if !b.miss(min(s.First(), head+1)) {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), requestTime)
	defer cancel()
	began, seen, whole := time.Now(), 0, true
	err := s.Replay(ctx, b.pos, func(e *runtime.Event) bool {
		if e.Seq > head {
			return false
		}
		seen++
		whole = (e.Seq == b.pos+1 || b.miss(min(s.First(), e.Seq))) && b.take(e) &&
			(seen%64 != 0 || time.Since(began) < readingTime)
		return whole
	})
	if err != nil {
		return fmt.Errorf("%w: reading what the poll asks for: %w", runtime.ErrJournal, err)
	}
	if !whole {
		b.full = true
	} else if b.miss(min(s.First(), head+1)) { // what aged out since the first look
		b.pos = max(b.pos, head)
	}
	return nil
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

// take adds an event if the selection has it, or reports false if the answer is
// full without it.
func (b *batch) take(e *runtime.Event) bool {
	if b.selection.Matches(e.Type, e.Domain, e.EntityID) {
		payload := b.format.Append(b.payload[:0], wrapEvent(e))
		if b.n > 0 && (b.n == b.limit || len(b.events)+len(payload) > maxBatchBytes) {
			b.full = true
			return false
		}
		b.add(payload)
	}
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

// appendJSON writes the answer: {"events", "next", "head", "gap", "reset"}.
func (b *batch) appendJSON(dst []byte, epoch string, head uint64) []byte {
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
	return append(dst, '}')
}
