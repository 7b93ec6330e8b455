// Package sse writes and reads text/event-stream, the wire format of
// EventSource, as section 9.2 of the WHATWG HTML specification defines it
// (https://html.spec.whatwg.org/multipage/server-sent-events.html).
//
// The Append functions encode whole frames onto a byte slice. They hold no
// state, never block, and allocate only when the slice has to grow. A frame
// always ends with an empty line, so any concatenation of frames is a valid
// stream and any frame boundary is a place to stop.
//
// A [Reader] takes the bytes of a stream in pieces of any size and reports
// frames in the order of the stream, from within Write. How the bytes are cut
// makes no difference. It never blocks, keeps a bounded amount of memory, and
// does not allocate once its buffers have grown to the frames in use.
//
// A [Continuity] checks what a Reader reports: that nothing came twice or out
// of order, and how far the stream is whole.
//
// Ids of the form <epoch>-<sequence> name a place in a journal: [ParseID] and
// [AppendSeqID].
package sse
