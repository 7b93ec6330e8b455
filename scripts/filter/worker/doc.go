// Package worker runs filters that need the whole of JavaScript, each trust
// domain's in a process of its own.
//
// No bound on a JavaScript machine's processor time and memory can be trusted
// inside the process that it runs in. So a Pool starts this program again for
// each domain, as a worker: Main, which limits its own memory, lets go of
// files and network, and then decides about the events that it is sent. A
// filter that hangs, or takes more memory than there is, ends with its
// process; the Pool knows which filter ran, quarantines it, starts the process
// again, and has the rest decided by the others.
//
// A filter has a machine (goja.Runtime) of its own, so that none can change
// what another one sees, at about 30 KB each. All read the same decoded event;
// what they hold of it are read-only objects. Their clock stands at the event's
// time and their random numbers depend on the event's sequence only, so that a
// filter without memory of its own says the same in a replay. What a filter
// keeps from event to event may be gone at any time.
//
// Order and blocking: Pool.Decide blocks until all is decided; it tells the
// decisions of one call in the order of the events, and for each event in the
// order of the filters, each exactly once. Calls for one domain take turns;
// domains don't wait for each other.
package worker
