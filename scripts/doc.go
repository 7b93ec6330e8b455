// Package scripts is the script host: every .js file of a folder is a device
// program that runs while the file is there.
//
// Each loaded version of a file is a generation, hall.js@7, with an own
// JavaScript machine, one goroutine and one event loop. Whatever a generation
// makes (entities, handlers, timers, calls under way) belongs to it and ends
// with it. Saving a file is a transaction: the new generation is compiled and its
// top level runs beside the old one; what it declares, sets and emits meanwhile
// is held back, and takes effect when the new one takes the old one's place. On
// any failure the old one stays, and the failure is told with file, line and
// reason on the log, as a script_failed event and by Host.Status.
//
// Order: a script's handlers run one at a time, for events in the order of the
// journal. Commands and events wait in one queue, in the order they came.
// Handlers of two generations of one file never run at the same time, and an
// event that waited when they changed places is handled by the new one: once,
// by either. Within one event, handlers run in the order they were registered.
//
// Blocking: following the journal never waits for a script. A script that
// does not keep up misses events, and is told so (script_overrun). A handler
// that runs longer than Limits.Handler is interrupted. What a script does to
// the runtime (set, emit) waits for the journal on the script's own
// goroutine.
//
// A script sees nothing of the machine it runs on but the files that its
// manifest names and the configuration grants. Scripts share the process,
// though: goja can be made to use memory without bound, and built-in functions
// can't be interrupted half way. Load the scripts of people you trust.
package scripts
