package main

import (
	"bufio"
	"encoding/binary"
	"errors"
	"io"
	"net"
)

// maxPayload is the largest payload that is taken, in bytes. What is longer is cut, so that no
// device can make the adapter hold more; MQTT 3.1.1 has no way to ask the broker for that.
const maxPayload = 1 << 20

// A limited connection cuts publications that are too large as they come. It knows
// as much of MQTT 3.1.1 as that needs: the fixed header (2.2) and that of PUBLISH (3.3).
type limited struct {
	net.Conn
	r   *bufio.Reader
	cut func(topic string) // called when one is cut

	in    []byte // bytes to hand on
	pass  int    // bytes behind those, to hand on as they come
	drop  int    // bytes behind those, to be left out
	space [512]byte
}

func newLimited(c net.Conn, cut func(topic string)) *limited {
	return &limited{Conn: c, r: bufio.NewReaderSize(c, 32<<10), cut: cut}
}

// Read implements net.Conn.
func (l *limited) Read(p []byte) (int, error) {
	if len(l.in) == 0 && l.pass == 0 {
		if err := l.next(); err != nil {
			return 0, err
		}
	}
	if len(l.in) > 0 {
		n := copy(p, l.in)
		l.in = l.in[n:]
		return n, nil
	}
	n, err := l.r.Read(p[:min(len(p), l.pass)])
	l.pass -= n
	return n, err
}

// errAlert says that the other side speaks TLS: what it sends begins as an alert (RFC 8446, 5.1), and as
// no packet that a broker sends.
var errAlert = errors.New("it answers in TLS")

// next reads the header of the next packet.
func (l *limited) next() error {
	for l.drop > 0 {
		n, err := l.r.Read(l.space[:min(l.drop, len(l.space))])
		if l.drop -= n; err != nil {
			return err
		}
	}
	head := l.space[:1]
	if _, err := io.ReadFull(l.r, head); err != nil {
		return err
	}
	if head[0] == 0x15 {
		return errAlert
	}
	length, shift := 0, 0
	for {
		one := l.space[len(head) : len(head)+1]
		if _, err := io.ReadFull(l.r, one); err != nil {
			return err
		}
		head = l.space[:len(head)+1]
		length |= int(one[0]&0x7f) << shift
		if shift += 7; one[0]&0x80 == 0 {
			break
		}
		if shift > 21 {
			return errors.New("the broker's packet has no length")
		}
	}
	l.in, l.pass = head, length
	if head[0]>>4 == 3 && length > maxPayload {
		return l.shorten(head[0], length)
	}
	return nil
}

// shorten cuts a publication.
func (l *limited) shorten(first byte, length int) error {
	var size [2]byte
	if _, err := io.ReadFull(l.r, size[:]); err != nil {
		return err
	}
	topic := make([]byte, binary.BigEndian.Uint16(size[:]))
	if len(topic)+2 > length {
		return errors.New("the broker's publication is shorter than its topic")
	}
	if _, err := io.ReadFull(l.r, topic); err != nil {
		return err
	}
	rest := length - 2 - len(topic)
	id := 0
	if first&0x06 != 0 {
		id = 2
	}
	keep := min(rest, maxPayload+id)
	if keep < rest {
		l.cut(string(topic))
	}
	l.in = append(appendLength([]byte{first}, 2+len(topic)+keep), size[:]...)
	l.in = append(l.in, topic...)
	l.pass, l.drop = keep, rest-keep
	return nil
}

// appendLength writes a remaining length (MQTT 3.1.1, 2.2.3).
func appendLength(b []byte, n int) []byte {
	for {
		digit := byte(n & 0x7f)
		if n >>= 7; n > 0 {
			b = append(b, digit|0x80)
			continue
		}
		return append(b, digit)
	}
}
