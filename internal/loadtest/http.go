package loadtest

import (
	"bytes"
	"errors"
	"fmt"
	"net/url"
	"strings"
)

// maxHead bounds a response head in bytes, and maxChunkLine the line before a chunk.
const (
	maxHead      = 16 << 10
	maxChunkLine = 1 << 10
)

// refusal is an answer that is no event stream.
type refusal struct {
	status int
	text   string
}

func (r *refusal) Error() string { return r.text }

// final reports whether trying again is pointless.
func (r *refusal) final() bool {
	return r.status < 500 && r.status != 408 && r.status != 429
}

// requestHead writes the request that opens a stream, but for Last-Event-ID
// and the empty line.
func requestHead(u *url.URL, token string, header []string) []byte {
	var b bytes.Buffer
	uri := u.RequestURI()
	if !strings.HasPrefix(uri, "/") { // as JoinPath leaves it
		uri = "/" + uri
	}
	fmt.Fprintf(&b, "GET %s HTTP/1.1\r\nHost: %s\r\nAccept: text/event-stream\r\nUser-Agent: carillon-loadtest\r\n", uri, u.Host)
	if token != "" {
		fmt.Fprintf(&b, "Authorization: Bearer %s\r\n", token)
	}
	for _, h := range header {
		fmt.Fprintf(&b, "%s\r\n", h)
	}
	return b.Bytes()
}

// appendRequest completes a request head, to resume after lastID unless it is empty.
func appendRequest(dst, head []byte, lastID string) []byte {
	dst = append(dst, head...)
	if lastID != "" {
		dst = append(dst, "Last-Event-ID: "...)
		dst = append(dst, lastID...)
		dst = append(dst, "\r\n"...)
	}
	return append(dst, "\r\n"...)
}

// cutHead takes the response head off b. n is its length, 0 while it is
// incomplete; chunked says how the body is framed.
func cutHead(b []byte) (n int, chunked bool, err error) {
	end := bytes.Index(b, []byte("\r\n\r\n"))
	if end < 0 {
		if len(b) > maxHead {
			return 0, false, errors.New("the response head exceeds 16 KiB")
		}
		return 0, false, nil
	}
	lines := strings.Split(string(b[:end]), "\r\n")
	version, rest, _ := strings.Cut(lines[0], " ")
	var status int
	if _, err := fmt.Sscanf(rest, "%3d", &status); err != nil || !strings.HasPrefix(version, "HTTP/1.") {
		return 0, false, fmt.Errorf("the server does not answer in HTTP/1: %.60q", lines[0])
	}
	var kind, location string
	for _, line := range lines[1:] {
		name, value, _ := strings.Cut(line, ":")
		value = strings.TrimSpace(value)
		switch strings.ToLower(name) {
		case "transfer-encoding":
			chunked = strings.EqualFold(value, "chunked")
		case "content-type":
			kind, _, _ = strings.Cut(strings.ToLower(value), ";")
		case "location":
			location = " to " + value
		}
	}
	if status != 200 {
		body := strings.TrimSpace(string(b[end+4 : min(len(b), end+204)]))
		return 0, false, &refusal{status, strings.TrimSpace("the server answers " + rest + location + ": " + body)}
	}
	if strings.TrimSpace(kind) != "text/event-stream" {
		return 0, false, &refusal{status, fmt.Sprintf("the server answers with %q, not text/event-stream", kind)}
	}
	return end + 4, chunked, nil
}

// errEnded is the regular end of a chunked body.
var errEnded = errors.New("the server ended the stream")

// chunks decodes a chunked body in pieces of any size.
type chunks struct {
	line []byte // of the size line so far
	left int64  // of the present chunk's data
	tail int    // bytes of the CRLF after it yet to come
}

// next decodes from p and returns the payload that lies in it, if any, and
// the rest of p. Call it until the rest is empty.
func (c *chunks) next(p []byte) (payload, rest []byte, err error) {
	if c.left > 0 {
		n := int(min(c.left, int64(len(p))))
		if c.left -= int64(n); c.left == 0 {
			c.tail = 2
		}
		return p[:n], p[n:], nil
	}
	for c.tail > 0 && len(p) > 0 {
		if want := "\n\r"[c.tail-1]; p[0] != want {
			return nil, nil, fmt.Errorf("chunk does not end with CRLF but with %q", p[0])
		}
		c.tail--
		p = p[1:]
	}
	i := bytes.IndexByte(p, '\n')
	if i < 0 {
		c.line = append(c.line, p...)
		if len(c.line) > maxChunkLine {
			return nil, nil, errors.New("chunk size line exceeds 1 KiB")
		}
		return nil, nil, nil
	}
	c.line = append(c.line, p[:i]...)
	var ok bool
	if c.left, ok = chunkSize(c.line); !ok {
		return nil, nil, fmt.Errorf("chunk size %.40q is not a number", c.line)
	}
	c.line = c.line[:0]
	if c.left == 0 {
		return nil, nil, errEnded
	}
	return nil, p[i+1:], nil
}

// chunkSize parses a chunk's size line: hexadecimal digits, at most 15, then
// white space or extensions.
func chunkSize(line []byte) (size int64, ok bool) {
	digits := 0
	for _, b := range line {
		d := int64(0)
		switch {
		case b >= '0' && b <= '9':
			d = int64(b - '0')
		case b|0x20 >= 'a' && b|0x20 <= 'f':
			d = int64(b|0x20-'a') + 10
		default:
			return size, digits > 0 && (b == ';' || b == '\r' || b == ' ')
		}
		if digits++; digits > 15 {
			return 0, false
		}
		size = size<<4 | d
	}
	return size, digits > 0
}
