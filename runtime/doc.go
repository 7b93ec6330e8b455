// Package runtime holds what happens in a home: events, the states of
// entities, commands, and the rules for all three.
//
// Every change takes one walk: a writer proposes it, the journal orders it, the
// journal's tail brings it back, and only then is it folded into the entity
// table and handed to followers. Set, Fire and Remove therefore return only
// when their events are durable and visible.
//
// Order: events reach the table and every follower in the order of their
// sequence, without a hole. Proposals for one entity are decided against the
// proposal before them, journaled or still under way, so two writers can't lose
// each other's change or tell a wrong old state.
//
// Blocking: followers run on the tail's goroutine and must not block. Methods
// are safe for concurrent use, except that a follower must not call Set, Fire,
// Remove or Call, which wait for the very goroutine it runs on.
package runtime
