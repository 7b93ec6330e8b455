package sse

import (
	"bytes"
	"slices"
	"strings"
	"testing"
)

// FuzzEncoder checks that the Reader gets back what AppendEvent was given.
func FuzzEncoder(f *testing.F) {
	f.Add("ab-1", "x", []byte("a\r\nb\rc\n"))
	f.Add("", "", []byte{})
	f.Add(" 1", " e", []byte(" \xff:data: x"))
	f.Fuzz(func(t *testing.T, id, event string, data []byte) {
		if ValidField(id) != nil || ValidField(event) != nil {
			if !strings.ContainsAny(id+event, "\x00\r\n") {
				t.Fatalf("id %q or event %q refused without cause", id, event)
			}
			return
		}
		wire := AppendComment(AppendEvent([]byte(": begin\n\n"), id, event, data), string(data))
		lines := strings.ReplaceAll(strings.ReplaceAll(string(data), "\r\n", "\n"), "\r", "\n")
		var messages, comments []string
		r := Reader{MaxEvent: len(wire), On: func(fr Frame) {
			switch fr.Kind {
			case Message:
				messages = append(messages, string(fr.Data))
				if string(fr.ID) != id || fr.HasID != (id != "") || string(fr.Event) != event {
					t.Errorf("got id %q, event %q, want %q, %q", fr.ID, fr.Event, id, event)
				}
			case Comment:
				comments = append(comments, string(fr.Data))
			default:
				t.Errorf("got a frame of kind %d", fr.Kind)
			}
		}}
		if _, err := r.Write(wire); err != nil {
			t.Fatal(err)
		}
		if want := []string{lines}; !slices.Equal(messages, want) {
			t.Errorf("got messages %q, want %q", messages, want)
		}
		if want := append([]string{"begin"}, strings.Split(lines, "\n")...); !slices.Equal(comments, want) {
			t.Errorf("got comments %q, want %q", comments, want)
		}
	})
}

// FuzzReader checks that any bytes, cut anywhere, give the same frames as in
// one piece, and that memory stays bounded.
func FuzzReader(f *testing.F) {
	f.Add([]byte("\ufeffid: 1\r\ndata: a\r\n\r\nretry: 5\n: c\n\n"), []byte{1, 2, 3})
	f.Add([]byte("\xef\xbb"), []byte{0})
	f.Add([]byte(strings.Repeat("data: aaaaaaaaaaaaaaaa\n", 20)), []byte{200, 1})
	f.Fuzz(func(t *testing.T, in, cuts []byte) {
		const limit = 256
		whole, last, wholeErr := read(t, limit, in)
		var got []string
		r := Reader{MaxEvent: limit, On: func(fr Frame) { got = append(got, text(fr)) }}
		var err error
		for p, i := in, 0; len(p) > 0 && err == nil; i++ {
			n := len(p)
			if len(cuts) > 0 {
				n = min(n, int(cuts[i%len(cuts)])+1)
			}
			piece := bytes.Clone(p[:n])
			_, err = r.Write(piece)
			clear(piece) // the Reader must not keep what it was lent
			p = p[n:]
		}
		if !slices.Equal(got, whole) || r.LastID() != last || err != wholeErr {
			t.Errorf("cut by %v: got %q, last %q, %v, want %q, last %q, %v", cuts, got, r.LastID(), err, whole, last, wholeErr)
		}
		for _, b := range [][]byte{r.carry, r.data, r.id, r.last, r.event} {
			if cap(b) > 4*limit {
				t.Errorf("got a buffer of %d bytes with a bound of %d", cap(b), limit)
			}
		}
	})
}

// FuzzParseID checks that an accepted id is exactly what FormatID makes.
func FuzzParseID(f *testing.F) {
	f.Add("abcdefgh-123")
	f.Add("a-0")
	f.Fuzz(func(t *testing.T, s string) {
		if epoch, seq, ok := ParseID(s); ok && FormatID(epoch, seq) != s {
			t.Errorf("%q: got %q", s, FormatID(epoch, seq))
		}
	})
}
