// Package filter decides which events a subscriber gets, by a JavaScript
// predicate that the subscriber sends.
//
// A predicate is compiled to Go once (Compile) and then says of an event
// whether it matches, what the subscriber gets instead of it, or what it threw
// (Program.Eval). It means what it means in JavaScript, to the last coercion:
// the operations on values are those of ECMA-262, and strings are counted and
// compared in UTF-16 code units. A predicate sees the event only: it has no
// clock, no state and no side effects, so that it says the same of an event
// today, in a replay and after a restart.
//
// A Set holds all predicates in use, each once however many subscribers have
// it, and decides about an event with all of them at the price of the few that
// could match: those that compare a path of the event with constants are found
// by what the event holds there.
//
// Nothing here blocks, starts a goroutine or keeps what it was given longer
// than the Event that it was given for. A Program is immutable and safe for
// concurrent use; an Event, and with it the values read from it, belongs to
// one goroutine at a time and holds until its next Reset; a Set takes one call
// at a time and makes the others wait.
//
// Everything is bounded: a program's nodes when it is compiled (Program.Cost),
// its run by that times the size of the event, an event's tree by the depth
// that package runtime lets in.
package filter
