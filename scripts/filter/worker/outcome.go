package worker

import "fmt"

// An Outcome is what a filter says of an event.
type Outcome struct {
	Match bool
	Data  []byte // JSON of the projection; nil for the event as it is
	Err   string // what was thrown
}

// An Error says why a filter could not be loaded.
type Error struct {
	Line, Column int
	Construct    string
	Message      string
}

// Error returns the error with its place before it.
func (e *Error) Error() string { return fmt.Sprintf("%d:%d: %s", e.Line, e.Column, e.Message) }
