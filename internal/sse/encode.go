package sse

import (
	"bytes"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// ValidField reports, as an error that names the byte and its offset, why s
// cannot be an event's id or name: it holds NUL, CR or LF. Such a field would
// end early or be ignored by the reader, so it is refused at the source.
func ValidField(s string) error {
	i := strings.IndexAny(s, "\x00\r\n")
	if i < 0 {
		return nil
	}
	name := map[byte]string{0: "NUL", '\r': "CR", '\n': "LF"}[s[i]]
	return fmt.Errorf("%s at byte %d is not allowed in an event's id or name", name, i)
}

// AppendEvent appends one event: its id and name, unless empty, then data, a
// line for each of its lines. CRLF, LF and a lone CR each end a line of data;
// the reader gets LF for all of them. Empty data is an event with empty data.
// The caller has checked id and event with [ValidField].
func AppendEvent(dst []byte, id, event string, data []byte) []byte {
	if id != "" {
		dst = append(dst, "id: "...)
		dst = append(dst, id...)
		dst = append(dst, '\n')
	}
	return appendNamed(dst, event, data)
}

// AppendSeqEvent is AppendEvent with the id <epoch>-<seq>, without making a
// string of it. An empty event is an unnamed one.
func AppendSeqEvent(dst []byte, epoch string, seq uint64, event string, data []byte) []byte {
	dst = append(dst, "id: "...)
	dst = AppendSeqID(dst, epoch, seq)
	dst = append(dst, '\n')
	return appendNamed(dst, event, data)
}

func appendNamed(dst []byte, event string, data []byte) []byte {
	if event != "" {
		dst = append(dst, "event: "...)
		dst = append(dst, event...)
		dst = append(dst, '\n')
	}
	dst = appendLines(dst, "data: ", data)
	return append(dst, '\n')
}

// AppendID appends a frame of only an id: it moves the reader's resume point
// and dispatches nothing. The caller has checked id with [ValidField].
func AppendID(dst []byte, id string) []byte {
	dst = append(dst, "id: "...)
	dst = append(dst, id...)
	return append(dst, "\n\n"...)
}

// AppendComment appends a comment, a line for each line of text. Readers
// ignore it; proxies and idle timers do not.
func AppendComment(dst []byte, text string) []byte {
	for {
		i := strings.IndexAny(text, "\r\n")
		if i < 0 {
			break
		}
		dst = append(dst, ": "...)
		dst = append(dst, text[:i]...)
		dst = append(dst, '\n')
		if text[i] == '\r' && i+1 < len(text) && text[i+1] == '\n' {
			i++
		}
		text = text[i+1:]
	}
	dst = append(dst, ": "...)
	dst = append(dst, text...)
	return append(dst, "\n\n"...)
}

// AppendRetry appends how long the reader is to wait before it reconnects, in
// whole milliseconds, rounded down; a negative d counts as 0.
func AppendRetry(dst []byte, d time.Duration) []byte {
	dst = append(dst, "retry: "...)
	dst = strconv.AppendInt(dst, max(d.Milliseconds(), 0), 10)
	return append(dst, "\n\n"...)
}

// appendLines appends each line of data, prefixed. The common case, compact
// JSON, has no line end and costs two scans at memory speed.
func appendLines(dst []byte, prefix string, data []byte) []byte {
	for {
		i := lineEnd(data)
		dst = append(dst, prefix...)
		if i < 0 {
			dst = append(dst, data...)
			return append(dst, '\n')
		}
		dst = append(dst, data[:i]...)
		dst = append(dst, '\n')
		if data[i] == '\r' && i+1 < len(data) && data[i+1] == '\n' {
			i++
		}
		data = data[i+1:]
	}
}

// lineEnd returns the offset of the first CR or LF, or -1.
func lineEnd(b []byte) int {
	lf := bytes.IndexByte(b, '\n')
	if lf < 0 {
		return bytes.IndexByte(b, '\r')
	}
	if cr := bytes.IndexByte(b[:lf], '\r'); cr >= 0 {
		return cr
	}
	return lf
}
