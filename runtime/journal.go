package runtime

import "context"

// A Journal is the durable, ordered log that events go through.
type Journal interface {
	// Append queues events behind all that were queued before; it may wait for
	// room, not for the disk. The journal calls done exactly once for each
	// Append, in their order: with the sequence of the last event when all are
	// durable, or with an error. After an error nothing of that Append is
	// stored, and every Append behind it fails too, until Recover.
	Append(events []*Event, done func(last uint64, err error))

	// Recover lets Append store again after an error. It is called when every
	// Append has had its done.
	Recover()

	// Tail calls fn with the events behind the sequence after, in order, in
	// batches as they come, until ctx ends; it then returns ctx's error. Events
	// that this process appended are the very pointers given to Append, with
	// Seq set before fn sees them. What retention has removed is passed over.
	Tail(ctx context.Context, after uint64, fn func([]*Event)) error

	// Bounds returns the first and the last sequence that the journal holds;
	// first is greater than last when it holds nothing.
	Bounds() (first, last uint64)

	// LoadStates returns the last saved entity table, and the sequence up to
	// which it is folded: 0 with no states when none was saved.
	LoadStates(ctx context.Context) (states []StoredState, upTo uint64, err error)

	// SaveStates stores the states that changed and removes the others, then
	// the sequence up to which the saved table is folded.
	SaveStates(ctx context.Context, changed []StoredState, removed []string, upTo uint64) error
}

// A StoredState is one entity of a saved table.
type StoredState struct {
	State  *State
	Source string // who produces it: "hall.js@7"; empty when nobody does
}
