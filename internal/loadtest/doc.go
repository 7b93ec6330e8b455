// Package loadtest holds many event streams open at once, publishes numbered
// events, and checks that every stream gets every one of them once, in order
// and unaltered, and how long that takes.
//
// The schedule is open: each event has an intended send time, fixed before
// the run, and its latency is measured from there. So a server (or a
// publisher) that stalls delays the events behind the stall and all of that
// shows, where a closed loop would have waited politely (coordinated omission).
// The publisher never waits for a stream.
//
// A few workers read all streams, on Linux with one epoll and one buffer each
// and without a goroutine per stream. All streams of a test should get the
// same bytes, so a worker parses what the first one gets and compares what
// the others get with that, byte for byte; a stream whose bytes differ is
// parsed by itself until it agrees again. Frames of one stream are always
// checked in the order in which they came.
//
// With filters the streams of each one get the same bytes. Which events those
// are follows from the filter's number and the event's (see spread), so that
// what is lost and what was not asked for is known without running a filter.
package loadtest
