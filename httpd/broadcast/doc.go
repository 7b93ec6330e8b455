// Package broadcast carries one ordered run of events to very many event
// streams: it frames each event once per format, decides once per distinct
// selection who gets it, and writes the bytes to sockets.
//
// # Parts
//
// A tape is a ring of whole encoded frames, one per format in use. A feed is
// all streams with the same format and selection: the unfiltered feed is the
// tape itself, any other one is a ring of references to frames on tapes. A
// stream is a connection with a cursor on its feed. A pump, one per core, owns
// streams and writes everything between cursor and head with one system call,
// straight out of the ring. A busy pump so coalesces by itself.
//
// A selection may have a filter: a program that Config.Filters decides for. It is
// asked once for each event, however many streams and formats have it. What it
// gives in place of an event, and what tells that it threw, lies on a second
// tape of the format, to which only filtered feeds refer. A filter that may
// take long belongs to a lane, which has a goroutine, a bounded queue and a head
// of its own: the streams of its feeds go by that head, and all others don't
// notice it. Readers of the journal ask for one filter and a run of events;
// streams of one feed share the answers.
//
// What is read of the journal is framed once per format, in passages of 256
// events, and kept on a shelf while streams ask for it: those that resume in
// the same region share the reading and the bytes. A reading goes on while
// somebody is close behind it.
//
// # Order
//
// A stream gets the events of its selection in the order of Publish, each
// once, from its starting point on. A stream whose next frame has left the
// ring is given to a small pool of journal readers and comes back onto the
// tape at the frame after the last one it got. What the journal no longer
// holds is announced in its place by a frame named "gap"; a starting point
// that lies ahead of the journal by one named "reset". A stream ends on a
// frame boundary, unless its connection breaks or a deadline of Close cuts it.
//
// A stream that is too slow for what is in memory is treated by its Policy: it
// reads the journal, or gets only what is not outdated and a gap that says how
// much was left out, or is asked to come back. Each is told and counted.
//
// Reselect changes a selection at an exact sequence: the stream is held on its
// old feed up to there, and goes on on the new one behind it. Nothing is
// buffered for that but the caller's bytes, 64 MiB of them for all streams.
//
// Every BeatEvery each stream gets a frame that has only an id: the head at
// that point, or that of its lane. It stands on the tape after all events up to
// that head, so a stream that has it lacks nothing before it.
//
// A lane decides about events in order. What its queue has no room for is read
// in the journal by its streams, whatever their policy is: they are not to blame.
// An event on which a filter throws is not given; a frame named "filter_error"
// tells of it, and of those that follow within a second together.
//
// # Blocking
//
// Publish never waits for a stream: it waits at most for the one send that
// each pump has under way, and that only when the ring's tail moves, and for
// Filters.Match. Attach and Reselect wait at most for a Publish under way and
// for such a send; both wait, and Publish does, while Reselect calls its cut.
// Streams that lag get turns of 4 ms, after which a pump looks for what is new.
// Config.Replay, Config.First and Filters.Decide run on reader goroutines, those
// for filters of a lane on one of its own, and Filters.Ask on the lane's; OnClose
// runs on a pump and must return at once. Streams and Drain wait for the pass
// that each pump has under way.
//
// # Memory
//
// A tape's ring and index are bounded by Config.TapeBytes (a frame of more
// than a quarter of it makes the ring grow). A feed holds at most 1,024
// references, or 32 for each of its streams, up to 32,768; a lane's queue at most
// 4,096 events. A stream is one struct of about 200 bytes without goroutine,
// channel, timer or buffer; what only some need (a policy, a change of
// selection) stands beside it. While it is being written to in part it holds one
// frame's rest, and while it reads the journal one passage, which is shared, or
// what it selected of some passages: in both cases up to some 256 KiB, or one
// frame, if that is longer; if it stands still, one frame's rest. The shelf
// holds Config.ReplayBytes, and nothing 10 s after the last stream caught up.
// The kernel holds Config.SendBuffer for a stream. Connections that have no
// file descriptor of their own (TLS), and all on systems without epoll, cost
// two goroutines each, and up to 64 KiB while they read the journal.
package broadcast
