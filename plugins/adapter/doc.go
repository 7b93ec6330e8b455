// Package adapter is what the author of an adapter imports: a program that speaks
// to hardware, in a process of its own, and is a device like any other to the
// home. An author writes an Adapter and calls Serve from main; docs/adapters.md
// goes from nothing to a working one.
//
// Order: what one goroutine publishes reaches the journal in that order, and
// what one call publishes stays together. The result of a command comes behind
// everything that was published before its handler returned. Commands of one
// entity are handled one after another as they came, those of different
// entities at once. Events that are followed come in the journal's order, each once.
// Logs and metrics have no order with these.
//
// Blocking: what publishes returns once it is queued, and waits while the
// journal has not stored enough of what was queued before (credit). So memory is
// bounded, and a slow journal slows the adapter and loses nothing. An adapter that is
// slow to take events slows nobody: they wait in the journal. Logs and
// metrics never wait: lines that don't fit are dropped, and how many is logged.
package adapter
