package sse

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"
)

// text renders a frame so that tests can compare it as a line.
func text(f Frame) string {
	switch f.Kind {
	case Comment:
		return fmt.Sprintf("comment %q", f.Data)
	case Retry:
		return fmt.Sprintf("retry %v", f.Retry)
	case Moved:
		return fmt.Sprintf("moved %q", f.ID)
	}
	return fmt.Sprintf("message id=%q new=%v event=%q data=%q", f.ID, f.HasID, f.Event, f.Data)
}

// read feeds the pieces to one Reader and returns what it reported.
func read(t testing.TB, limit int, pieces ...[]byte) (frames []string, last string, err error) {
	t.Helper()
	r := Reader{MaxEvent: limit, On: func(f Frame) { frames = append(frames, text(f)) }}
	for _, p := range pieces {
		if _, err = r.Write(p); err != nil {
			break
		}
	}
	return frames, r.LastID(), err
}

func TestReaderCases(t *testing.T) {
	msg := func(id, event, data string) string {
		return fmt.Sprintf("message id=%q new=%v event=%q data=%q", id, id != "", event, data)
	}
	cases := []struct {
		name, in string
		want     []string
	}{
		{"plain", "data: a\n\n", []string{msg("", "", "a")}},
		{"id and name", "id: 7\nevent: x\ndata: a\n\n", []string{msg("7", "x", "a")}},
		{"CRLF", "id: 7\r\ndata: a\r\n\r\n", []string{msg("7", "", "a")}},
		{"lone CR", "id: 7\rdata: a\r\r", []string{msg("7", "", "a")}},
		{"mixed line ends", "data: a\r\ndata: b\rdata: c\n\r\n", []string{msg("", "", "a\nb\nc")}},
		{"CR LF CR is two ends", "data: a\r\n\rdata: b\n\n", []string{msg("", "", "a"), msg("", "", "b")}},
		{"byte order mark", "\ufeffdata: a\n\n", []string{msg("", "", "a")}},
		{"two byte order marks", "\ufeff\ufeffdata: a\n\ndata: b\n\n", []string{msg("", "", "b")}},
		{"a later byte order mark is text", "data: a\n\n\ufeffdata: b\n\n", []string{msg("", "", "a")}},
		{"half a byte order mark", "\xef\xbbdata: a\n\ndata: b\n\n", []string{msg("", "", "b")}},
		{"one space is taken", "data:a\ndata: b\ndata:  c\ndata:\td\n\n", []string{msg("", "", "a\nb\n c\n\td")}},
		{"field without colon", "data\n\n", []string{msg("", "", "")}},
		{"empty data", "data:\n\n", []string{msg("", "", "")}},
		{"two empty lines of data", "data\ndata\n\n", []string{msg("", "", "\n")}},
		{"no data", "event: x\n\ndata: a\n\n", []string{msg("", "", "a")}},
		{"colon in value", "data: a:b: c\n\n", []string{msg("", "", "a:b: c")}},
		{"unknown field", "Data: x\n data: y\nfoo: z\ndata: a\n\n", []string{msg("", "", "a")}},
		{"last name wins", "event: a\nevent: b\ndata\n\n", []string{msg("", "b", "")}},
		{"name may be emptied", "event: a\nevent\ndata\n\n", []string{msg("", "", "")}},
		{"id with NUL is ignored", "id: 1\n\nid: 2\x003\ndata: a\n\n",
			[]string{`moved "1"`, `message id="1" new=false event="" data="a"`}},
		{"id stays", "id: 1\ndata: a\n\ndata: b\n\n",
			[]string{msg("1", "", "a"), `message id="1" new=false event="" data="b"`}},
		{"id emptied", "id: 1\ndata: a\n\nid\ndata: b\n\n",
			[]string{msg("1", "", "a"), `message id="" new=true event="" data="b"`}},
		{"id-only frame", "id: 9\n\n", []string{`moved "9"`}},
		{"comment", ": hi\n:\n::x\n\n", []string{`comment "hi"`, `comment ""`, `comment ":x"`}},
		{"comment within an event", "data: a\n: c\ndata: b\n\n", []string{`comment "c"`, msg("", "", "a\nb")}},
		{"retry", "retry: 1500\n\n", []string{"retry 1.5s"}},
		{"retry of other than digits", "retry: 1.5\nretry: -1\nretry: \nretry\nretry:  1\nretry: 1s\n\n", nil},
		{"retry beyond 64 bits", "retry: 99999999999999999999999\n\n", []string{"retry 24h0m0s"}},
		{"unterminated", "data: a\n\nid: 8\ndata: b\n", []string{msg("", "", "a")}},
		{"blank lines", "\n\n\r\n\r\r\ndata: a\n\n", []string{msg("", "", "a")}},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			whole, last, err := read(t, 0, []byte(c.in))
			if got, want := strings.Join(whole, "\n"), strings.Join(c.want, "\n"); got != want || err != nil {
				t.Errorf("got:\n%s\nwant:\n%s\nerror %v", got, want, err)
			}
			for cut := range len(c.in) {
				got, gotLast, _ := read(t, 0, []byte(c.in[:cut]), nil, []byte(c.in[cut:]))
				if strings.Join(got, "\n") != strings.Join(whole, "\n") || gotLast != last {
					t.Errorf("cut at %d: got %q, last %q, want %q, last %q", cut, got, gotLast, whole, last)
				}
			}
			got, _, _ := read(t, 0, bytes.SplitAfter([]byte(c.in), nil)...)
			if strings.Join(got, "\n") != strings.Join(whole, "\n") {
				t.Errorf("byte by byte: got %q, want %q", got, whole)
			}
		})
	}
}

func TestReaderLastIDCountsOnlyCompleteFrames(t *testing.T) {
	var frames []string
	r := Reader{On: func(f Frame) { frames = append(frames, text(f)) }}
	r.Write([]byte("id: 1\ndata: a\n\nid: 2\ndata: b\n"))
	if got := r.LastID(); got != "1" {
		t.Errorf("got last id %q, want 1: the frame of 2 is not terminated", got)
	}
	r.Reset()
	frames = nil
	r.Write([]byte("\ufeffdata: c\n\n"))
	if want := `message id="1" new=false event="" data="c"`; len(frames) != 1 || frames[0] != want {
		t.Errorf("after Reset: got %q, want %q", frames, want)
	}
}

func TestReaderIsBounded(t *testing.T) {
	const limit = 100
	x := strings.Repeat("x", limit)
	cases := map[string]struct {
		in   string
		want int
		fail bool
	}{
		"line within":       {"data: " + x[6:] + "\n\n", 1, false},
		"line beyond":       {"data: a\n\ndata: " + x[5:] + "\n\ndata: b\n\n", 1, true},
		"endless line":      {x + "x", 0, true},
		"endless data":      {strings.Repeat("data: aaaaaaaaa\n", 11), 0, true},
		"endless id":        {"id: " + x, 0, true},
		"comments are free": {strings.Repeat(": aaaaaaaaaaaaaaaaaaaaaaaaa\n", 50), 50, false},
	}
	for name, c := range cases {
		for _, step := range []int{1, 7, len(c.in)} {
			var pieces [][]byte
			for p := []byte(c.in); len(p) > 0; {
				n := min(step, len(p))
				pieces, p = append(pieces, p[:n]), p[n:]
			}
			frames, _, err := read(t, limit, pieces...)
			if len(frames) != c.want || errors.Is(err, ErrTooLong) != c.fail {
				t.Errorf("%s by %d: got %d frames, error %v, want %d, error %v", name, step, len(frames), err, c.want, c.fail)
			}
		}
	}
	r := Reader{MaxEvent: limit, On: func(Frame) {}}
	r.Write([]byte(x + "x"))
	if _, err := r.Write([]byte("data: a\n\n")); !errors.Is(err, ErrTooLong) {
		t.Errorf("got %v after a failure, want ErrTooLong until Reset", err)
	}
	r.Reset()
	if _, err := r.Write([]byte("data: a\n\n")); err != nil {
		t.Errorf("got %v after Reset, want none", err)
	}
}

// A stream of lone CRs must not search for an LF again and again.
func TestReaderLoneCRIsLinear(t *testing.T) {
	in := bytes.Repeat([]byte{'\r'}, 1<<20)
	begin := time.Now()
	read(t, 0, in)
	if took := time.Since(begin); took > 5*time.Second {
		t.Errorf("got %v for 1 MiB of CR, want well under 5 s", took)
	}
}

func TestReaderDoesNotAllocate(t *testing.T) {
	var n int
	r := Reader{On: func(f Frame) { n += len(f.Data) }}
	in := []byte("id: abcdefgh-12345\nevent: x\ndata: {\"a\":1}\ndata: b\n\n: beat\n\nid: abcdefgh-12346\n\nretry: 1000\n\n")
	feed := func() {
		r.Write(in[:30])
		r.Write(in[30:])
	}
	feed()
	if got := testing.AllocsPerRun(100, feed); got != 0 {
		t.Errorf("got %v allocations a run, want 0", got)
	}
	if n == 0 {
		t.Error("got no data")
	}
}

func TestReaderOffsetAndPending(t *testing.T) {
	in := "\ufeff: c\nid: 1\ndata: a\n\nid: 2\n\nretry: 5\r\n\r\ndata: b\r\rda"
	want := []int64{7, 22, 29, 38, 50}
	for step := 1; step <= len(in); step++ {
		var got []int64
		r := Reader{}
		r.On = func(Frame) { got = append(got, r.Offset()) }
		for p := in; len(p) > 0; {
			n := min(step, len(p))
			r.Write([]byte(p[:n]))
			p = p[n:]
		}
		if fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("by %d: got offsets %v, want %v", step, got, want)
		}
		if got := r.Offset(); got != int64(len(in)-2) {
			t.Errorf("by %d: got offset %d at the end, want %d", step, got, len(in)-2)
		}
	}
	for in, want := range map[string]bool{"": false, "\n": false, ": c\n": false, ": c": true, "data": true, "data\n": true,
		"data\n\n": false, "id: 1\n": true, "id: 1\n\n": false, "event: x\n": true, "event: x\r": true, "data\r\r": false, "\xef": true, "\ufeff": false} {
		r := Reader{On: func(Frame) {}}
		r.Write([]byte(in))
		if got := r.Pending(); got != want {
			t.Errorf("%q: got pending %v, want %v", in, got, want)
		}
	}
}
