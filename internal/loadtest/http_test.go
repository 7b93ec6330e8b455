package loadtest

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"
)

func TestCutHead(t *testing.T) {
	const good = "HTTP/1.1 200 OK\r\ncontent-type: Text/Event-Stream; charset=utf-8\r\n"
	for _, c := range []struct {
		in      string
		n       int
		chunked bool
		err     string
	}{
		{"", 0, false, ""},
		{good, 0, false, ""},
		{good + "\r\nrest", len(good) + 2, false, ""},
		{good + "Transfer-Encoding: Chunked\r\n\r\n", len(good) + 30, true, ""},
		{"HTTP/1.0 200\r\nContent-Type:text/event-stream\r\n\r\n", 48, false, ""},
		{"HTTP/1.1 204 No Content\r\n\r\n", 0, false, "204 No Content"},
		{"HTTP/1.1 302 Found\r\nLocation: /login\r\n\r\n", 0, false, "302 Found to /login"},
		{"HTTP/1.1 503 Busy\r\n\r\n wait ", 0, false, "503 Busy: wait"},
		{"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n\r\n", 0, false, `"text/html"`},
		{"HTTP/1.1 200 OK\r\n\r\n", 0, false, `""`},
		{"SSH-2.0-x\r\n\r\n", 0, false, "does not answer in HTTP/1"},
		{"HTTP/2 200 OK\r\n\r\n", 0, false, "does not answer in HTTP/1"},
		{strings.Repeat("x", maxHead+1), 0, false, "exceeds 16 KiB"},
	} {
		n, chunked, err := cutHead([]byte(c.in))
		if n != c.n || chunked != c.chunked || (err == nil) != (c.err == "") || err != nil && !strings.Contains(err.Error(), c.err) {
			t.Errorf("%.60q: got %d, %v, %v, want %d, %v, %q", c.in, n, chunked, err, c.n, c.chunked, c.err)
		}
	}
	for status, final := range map[int]bool{200: true, 204: true, 401: true, 404: true, 408: false, 429: false, 500: false, 503: false} {
		if got := (&refusal{status: status}).final(); got != final {
			t.Errorf("status %d: got final %v, want %v", status, got, final)
		}
	}
}

// unchunk decodes in pieces of step bytes.
func unchunk(in []byte, step int) (out []byte, err error) {
	var c chunks
	for len(in) > 0 {
		p := in[:min(step, len(in))]
		in = in[len(p):]
		for len(p) > 0 {
			payload, rest, err := c.next(p)
			if err != nil {
				return out, err
			}
			out = append(out, payload...)
			p = rest
		}
	}
	return out, nil
}

func TestChunks(t *testing.T) {
	for _, c := range []struct{ in, out, err string }{
		{"3\r\nabc\r\nA\r\n0123456789\r\n", "abc0123456789", ""},
		{"003;name=x\r\nabc\r\n1 \r\nd\r\n", "abcd", ""},
		{"1\na\r\n", "a", ""},
		{"2\r\nab\r\n0\r\n\r\n", "ab", errEnded.Error()},
		{"2\r\nabXX", "ab", "does not end with CRLF"},
		{"x\r\n", "", "is not a number"},
		{"\r\n", "", "is not a number"},
		{"-1\r\n", "", "is not a number"},
		{"1g\r\n", "", "is not a number"},
		{"1111111111111111\r\n", "", "is not a number"},
		{strings.Repeat("0", 2000), "", "exceeds 1 KiB"},
	} {
		for _, step := range []int{1, 2, 5, 5000} {
			out, err := unchunk([]byte(c.in), step)
			if string(out) != c.out || (err == nil) != (c.err == "") || err != nil && !strings.Contains(err.Error(), c.err) {
				t.Errorf("%.40q by %d: got %q, %v, want %q, %q", c.in, step, out, err, c.out, c.err)
			}
		}
	}
}

// FuzzChunks checks that the decoder gives back what was chunked, however it
// is cut, and takes anything without panic and alike in any pieces.
func FuzzChunks(f *testing.F) {
	f.Add([]byte("3\r\nabc\r\n0\r\n\r\n"), 1)
	f.Add([]byte("ff;x\r\n"), 3)
	f.Fuzz(func(t *testing.T, in []byte, step int) {
		step = max(1, step%64)
		var wire []byte
		for rest := in; len(rest) > 0; {
			n := min(step, len(rest))
			wire = fmt.Appendf(wire, "%x\r\n%s\r\n", n, rest[:n])
			rest = rest[n:]
		}
		if out, err := unchunk(wire, step); err != nil || !bytes.Equal(out, in) {
			t.Errorf("got %q, %v, want %q", out, err, in)
		}
		whole, wholeErr := unchunk(in, len(in)+1)
		cut, cutErr := unchunk(in, step)
		if !bytes.Equal(whole, cut) || (wholeErr == nil) != (cutErr == nil) || errors.Is(wholeErr, errEnded) != errors.Is(cutErr, errEnded) {
			t.Errorf("got %q, %v in pieces, %q, %v at once", cut, cutErr, whole, wholeErr)
		}
	})
}
