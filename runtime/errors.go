package runtime

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// Errors that callers branch on.
var (
	// ErrNotFound says that there is no such entity.
	ErrNotFound = errors.New("entity not found")
	// ErrUnknownService says that nobody serves the command.
	ErrUnknownService = errors.New("unknown service")
	// ErrJournal says that the journal can't take events for now; nothing of
	// the request was stored unless the error says otherwise.
	ErrJournal = errors.New("the journal takes no events for now")
	// ErrClosed says that the runtime is closing.
	ErrClosed = errors.New("the runtime is closed")
)

// An InvalidError is a caller's mistake: nothing was changed.
type InvalidError struct {
	Field string // which part is wrong: "entity_id", "state", "attributes", "data", "event_type"
	Msg   string // what is wrong with it, to be read behind the field's name
}

func (e *InvalidError) Error() string { return e.Field + " " + e.Msg }

func invalid(field, format string, args ...any) error {
	return &InvalidError{Field: field, Msg: fmt.Sprintf(format, args...)}
}

// An EventError tells which of several events or changes was refused.
type EventError struct {
	Index int // from 0
	Err   error
}

func (e *EventError) Error() string { return fmt.Sprintf("event %d: %v", e.Index, e.Err) }

func (e *EventError) Unwrap() error { return e.Err }

// A DataError, returned by a Handler, says that the command's data are wrong, and
// that nothing was done.
type DataError struct{ Err error }

func (e *DataError) Error() string { return e.Err.Error() }

func (e *DataError) Unwrap() error { return e.Err }

// A CallError is a command that its handler failed or didn't answer in time.
type CallError struct {
	EntityID string // empty for a service without a target
	Err      error
}

func (e *CallError) Error() string {
	if e.EntityID == "" {
		return e.Err.Error()
	}
	return e.EntityID + ": " + e.Err.Error()
}

func (e *CallError) Unwrap() error { return e.Err }

// A lateError is an answer that didn't come within the time; it is a context.DeadlineExceeded.
type lateError time.Duration

func (e lateError) Error() string { return fmt.Sprintf("no answer within %v", time.Duration(e)) }

func (lateError) Unwrap() error { return context.DeadlineExceeded }
