package worker

import (
	"bufio"
	"encoding/binary"
	"io"
	"os"
	goruntime "runtime"
	"runtime/debug"
	"time"
)

// exitMemory is the status of a worker that ended itself because it had more
// memory than it may have, on systems that don't see to that.
const exitMemory = 3

// maxStack bounds the machine's recursion through Go functions, in bytes: a
// process that needs more ends.
const maxStack = 16 << 20

// Main is the worker process: it reads frames from in, which must be a pipe
// from a Pool, and writes frames to out until in ends. It returns the exit
// status. It changes the limits of the process that it is called in: nothing
// else can run there.
func Main(in io.Reader, out io.Writer) int {
	goruntime.GOMAXPROCS(processors)
	debug.SetTraceback("none")
	debug.SetMaxStack(maxStack)
	debug.SetGCPercent(gcPercent)
	time.Local = time.UTC // a filter says the same wherever it runs
	ignoreInterrupts()
	in, out = polled(in), polled(out)
	return serve(bufio.NewReaderSize(in, 64<<10), out, restrict, func() { os.Exit(0) })
}

// ahead is how many frames are read before they are needed. A Pool sends fewer
// than that without waiting, so that the reader always stands at the pipe and
// sees its end, whatever a filter does.
const ahead = 4096

// gcPercent is how much garbage there may be for what is in use: much, since
// little is in use as a rule and collectAt has a bound for the rest.
const gcPercent = 400

type frame struct {
	kind byte
	body string
}

// serve is Main without the limits, which restrict sets: it gets the bytes of
// memory that filters may take. It calls gone when in ends, at once, whatever a
// filter does meanwhile.
func serve(in *bufio.Reader, out io.Writer, restrict func(memory int64), gone func()) int {
	kind, body, err := readFrame(in, maxRequest)
	hello := decoder{s: body}
	if err != nil || kind != kindHello || hello.uint() != protocolVersion {
		return 2
	}
	memory := int64(hello.uint())
	s := newServer(out, memory, hello.uint() != 0)
	restrict(memory)
	s.ready()
	frames := make(chan frame, ahead)
	go func() {
		defer close(frames)
		for {
			kind, body, err := readFrame(in, maxRequest)
			if err != nil {
				gone()
				return
			}
			frames <- frame{kind, body}
		}
	}()
	for f := range frames {
		if !s.handle(f) {
			return 2
		}
	}
	return 0
}

func (s *server) ready() {
	b, start := beginFrame(nil, kindReady)
	s.send(endFrame(binary.AppendUvarint(b, protocolVersion), start))
}
