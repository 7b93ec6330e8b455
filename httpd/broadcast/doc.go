// Package broadcast carries one ordered run of events to very many event
// streams: it frames each event once per format, decides once per distinct
// selection who gets it, and writes the bytes to sockets.
//
// # Parts
//
// A tape is a ring of whole encoded frames, one per format in use. A feed is
// all streams with the same format and selection: the unfiltered feed is the
// tape itself, any other one is a ring of references to frames on the tape. A
// stream is a connection with a cursor on its feed. A pump, one per core, owns
// streams and writes everything between cursor and head with one system call,
// straight out of the ring. A busy pump so coalesces by itself.
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
// Every BeatEvery each stream gets a frame that has only an id: the head at
// that point. It stands on the tape after all events up to that head, so a
// stream that has it lacks nothing before it.
//
// # Blocking
//
// Publish never waits for a stream: it waits at most for the one send that
// each pump has under way, and that only when the ring's tail moves. Attach
// waits at most for a Publish under way. Streams that lag get turns of 4 ms,
// after which a pump looks for what is new. Config.Replay and Config.First run on
// reader goroutines; OnClose runs on a pump and must return at once.
//
// # Memory
//
// A tape's ring and index are bounded by Config.TapeBytes (a frame of more
// than a quarter of it makes the ring grow). A feed holds at most 1,024
// references. A stream is one struct of about 200 bytes without goroutine,
// channel, timer or buffer; while it is being written to in part it holds one
// frame's rest, and while it reads the journal one passage, which is shared, or
// what it selected of some passages: in both cases up to some 256 KiB, or one
// frame, if that is longer; if it stands still, one frame's rest. The shelf
// holds Config.ReplayBytes, and nothing 10 s after the last stream caught up.
// The kernel holds Config.SendBuffer for a stream. Connections that have no
// file descriptor of their own (TLS), and all on systems without epoll, cost
// two goroutines each.
package broadcast
