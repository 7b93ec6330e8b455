// Package journal is the durable, ordered log of events, kept by NATS JetStream
// embedded in this process: no listening port, files under one folder.
//
// Order: an event's place is its sequence, given in the order of the calls of
// Append and never given twice in one epoch. Sequences may have holes: what
// retention removed, and what a failed append had begun. Tail, Read and Last
// pass over them.
//
// Durability: an event is acknowledged, and shown by Tail and Read, only after
// it has been written to its file, so a killed process loses nothing that
// anyone saw. Files are synced every SyncInterval and by Close; a crash of the
// machine itself may lose events younger than that. As their sequences would be
// given again, the first Open after such a crash takes a new epoch.
//
// An Append of several events is all or nothing, across a kill too: each event
// notes how many of its append follow, and an append whose end is missing is
// removed before anyone sees it.
//
// Blocking: Append waits for room (MaxPending events that are not yet stored,
// or not yet taken by a Tail), not for the disk. The done functions and Tail's
// fn run on the journal's goroutines, and must neither block for long nor call
// Append.
//
// One process owns the folder. Everything else goes through NATS' protocol, so
// that a server elsewhere can take the embedded one's place.
package journal
