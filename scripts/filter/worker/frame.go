package worker

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"io"
)

// protocolVersion changes with any change of what the frames mean: a process
// may be started from a newer binary.
const protocolVersion = 1

// What a frame is. The first ones go to the worker, the others come from it.
const (
	kindHello  = iota + 1 // version, memory, whether there is a page: the first frame
	kindLoad              // a filter's id, name, source, parameters (JSON, or empty)
	kindUnload            // a filter's id
	kindBatch             // events and who is to decide about them
	kindReady             // version: the answer to hello
	kindLoaded            // a filter's id, and why it could not be loaded
	kindPart              // decisions about some events of a batch
	kindAt                // which filter runs, where there is no page to see it on
	kindGreedy            // a filter that was dropped because it kept too much memory
)

const (
	// maxRequest bounds what the worker takes at once: a batch of one event of
	// the largest size, with its states.
	maxRequest = 32 << 20
	// maxReply bounds what is taken from a worker at once: see flushBytes and
	// maxProjection.
	maxReply = 4 << 20
)

// beginFrame begins a frame: its length (4 bytes, little-endian, of what
// follows), its kind (1 byte), its body. endFrame, with what beginFrame
// returned as start, completes it.
func beginFrame(dst []byte, kind byte) (out []byte, start int) {
	return append(dst, 0, 0, 0, 0, kind), len(dst)
}

func endFrame(dst []byte, start int) []byte {
	binary.LittleEndian.PutUint32(dst[start:], uint32(len(dst)-start-4))
	return dst
}

// readFrame reads the next frame into memory of its own.
func readFrame(r *bufio.Reader, limit uint32) (kind byte, body string, err error) {
	var head [5]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return 0, "", err
	}
	n := binary.LittleEndian.Uint32(head[:])
	if n == 0 || n > limit {
		return 0, "", fmt.Errorf("reading a frame: %d bytes, of at most %d", n, limit)
	}
	b := make([]byte, n-1)
	if _, err := io.ReadFull(r, b); err != nil {
		return 0, "", err
	}
	return head[4], asString(b), nil
}

func appendString[T ~string | ~[]byte](dst []byte, s T) []byte {
	return append(binary.AppendUvarint(dst, uint64(len(s))), s...)
}

// A decoder reads a body. After what does not fit, bad is set and all that is
// read is zero.
type decoder struct {
	s   string
	bad bool
}

func (d *decoder) uint() uint64 {
	var v uint64
	for shift := 0; shift < 64 && len(d.s) > 0; shift += 7 {
		c := d.s[0]
		d.s = d.s[1:]
		v |= uint64(c&0x7f) << shift
		if c < 0x80 {
			return v
		}
	}
	d.fail()
	return 0
}

func (d *decoder) int() int64 {
	u := d.uint()
	return int64(u>>1) ^ -int64(u&1)
}

// count reads a number of things that take at least one byte each.
func (d *decoder) count() int {
	n := d.uint()
	if n > uint64(len(d.s)) {
		d.fail()
		return 0
	}
	return int(n)
}

// str reads a string, which shares the body's memory.
func (d *decoder) str() string { return d.take(d.count()) }

func (d *decoder) take(n int) string {
	if n < 0 || n > len(d.s) {
		d.fail()
		return ""
	}
	s := d.s[:n]
	d.s = d.s[n:]
	return s
}

func (d *decoder) fail() { d.s, d.bad = "", true }
