package journal

import (
	"bytes"
	"context"
	"errors"
	"fmt"

	"github.com/nats-io/nats.go/jetstream"
)

// resolve finds out which of the pending appends the stream holds: the longest
// run of whole ones, each event at its sequence and byte for byte. They are
// completed; what the stream holds beyond them is removed.
func (j *Journal) resolve(ctx context.Context, eng *engine) error {
	info, err := eng.stream.Info(ctx)
	if err != nil {
		return err
	}
	w := j.w
	last, entryAt, eventAt := j.durable.Load(), 0, 0
	err = eng.read(ctx, readRange(last, info.State.LastSeq), func(seq uint64, subject string, payload []byte) bool {
		if entryAt == len(w.pending) {
			return false
		}
		e := w.pending[entryAt]
		if eventAt == e.sent || seq != e.first+uint64(eventAt) || subject != subjectOf(e.events[eventAt]) {
			return false
		}
		w.scratch = appendPayload(w.scratch[:0], e.events[eventAt], eventAt, len(e.events)-eventAt-1)
		if !bytes.Equal(payload, w.scratch) {
			return false
		}
		if eventAt++; eventAt == len(e.events) {
			last = seq
			entryAt, eventAt = entryAt+1, 0
		}
		return true
	})
	if err != nil {
		return fmt.Errorf("reading what is stored: %w", err)
	}
	j.complete(last)
	if err := eng.removeAfter(ctx, last, info.State.LastSeq); err != nil {
		return fmt.Errorf("removing what is not whole: %w", eng.reason(err))
	}
	w.head = max(info.State.LastSeq, j.durable.Load())
	return nil
}

// removePartial removes the begin of an append whose end a kill cut off.
func (e *engine) removePartial(ctx context.Context) error {
	m, err := e.stream.GetLastMsgForSubject(ctx, allSubjects)
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	_, n, err := parsePayload(m.Data)
	if err != nil || n.after == 0 {
		return err
	}
	return e.removeAfter(ctx, m.Sequence-uint64(min(n.before, int(m.Sequence)))-1, m.Sequence)
}

// removeAfter removes the messages after a sequence up to another, from the
// last to the first: a kill in between leaves the begin of an append again.
func (e *engine) removeAfter(ctx context.Context, after, upTo uint64) error {
	var seqs []uint64
	err := e.read(ctx, readRange(after, upTo), func(seq uint64, _ string, _ []byte) bool {
		seqs = append(seqs, seq)
		return true
	})
	for i := len(seqs) - 1; i >= 0 && err == nil; i-- {
		err = e.stream.DeleteMsg(ctx, seqs[i])
	}
	return err
}

// has reports whether the stream holds a sequence.
func (e *engine) has(ctx context.Context, seq uint64) bool {
	_, err := e.stream.GetMsg(ctx, seq)
	return err == nil
}
