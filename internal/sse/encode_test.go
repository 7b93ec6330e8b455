package sse

import (
	"strings"
	"testing"
	"time"
)

func TestAppend(t *testing.T) {
	cases := []struct {
		name string
		got  []byte
		want string
	}{
		{"data", AppendEvent(nil, "", "", []byte("a")), "data: a\n\n"},
		{"all", AppendEvent(nil, "i", "e", []byte("a")), "id: i\nevent: e\ndata: a\n\n"},
		{"empty", AppendEvent(nil, "", "", nil), "data: \n\n"},
		{"line ends", AppendEvent(nil, "", "", []byte("a\nb\r\nc\rd")), "data: a\ndata: b\ndata: c\ndata: d\n\n"},
		{"trailing line end", AppendEvent(nil, "", "", []byte("a\n")), "data: a\ndata: \n\n"},
		{"LF CR", AppendEvent(nil, "", "", []byte("a\n\rb")), "data: a\ndata: \ndata: b\n\n"},
		{"sequence", AppendSeqEvent(nil, "ab12", 34, "gap", []byte("{}")), "id: ab12-34\nevent: gap\ndata: {}\n\n"},
		{"unnamed", AppendSeqEvent([]byte("x"), "ab12", 34, "", []byte("{}")), "xid: ab12-34\ndata: {}\n\n"},
		{"id only", AppendID(nil, "ab12-34"), "id: ab12-34\n\n"},
		{"comment", AppendComment(nil, "hi"), ": hi\n\n"},
		{"comment's lines", AppendComment(nil, "a\ndata: x\r\rb\r\nc"), ": a\n: data: x\n: \n: b\n: c\n\n"},
		{"retry", AppendRetry(nil, 1500*time.Millisecond), "retry: 1500\n\n"},
		{"negative retry", AppendRetry(nil, -time.Second), "retry: 0\n\n"},
	}
	for _, c := range cases {
		if string(c.got) != c.want {
			t.Errorf("%s: got %q, want %q", c.name, c.got, c.want)
		}
	}
}

func TestValidField(t *testing.T) {
	for _, s := range []string{"", "a", "état", "a b:c", "\t"} {
		if err := ValidField(s); err != nil {
			t.Errorf("got %v for %q, want none", err, s)
		}
	}
	for s, want := range map[string]string{"\x00": "NUL at byte 0", "ab\r": "CR at byte 2", "a\nb\x00": "LF at byte 1"} {
		if err := ValidField(s); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v for %q, want %q", err, s, want)
		}
	}
}

func TestParseID(t *testing.T) {
	for s, want := range map[string]uint64{"abcdefgh-0": 0, "a-1": 1, "01-10": 10, "ab-18446744073709551615": 1<<64 - 1} {
		epoch, seq, ok := ParseID(s)
		if !ok || seq != want || FormatID(epoch, seq) != s {
			t.Errorf("%q: got %q, %d, %v, want %d and the same id again", s, epoch, seq, ok, want)
		}
	}
	bad := []string{"", "-", "a", "a-", "-1", "12", "A-1", "a_b-1", "a-01", "a-00", "a-+1", "a--1", "a-1x", "a-1-2",
		"a-18446744073709551616", "a-99999999999999999999999", "é-1", strings.Repeat("a", 65) + "-1"}
	for _, s := range bad {
		if epoch, seq, ok := ParseID(s); ok || epoch != "" || seq != 0 {
			t.Errorf("%q: got %q, %d, %v, want it refused", s, epoch, seq, ok)
		}
	}
}

func TestEncoderDoesNotAllocate(t *testing.T) {
	buf := make([]byte, 0, 4096)
	data := []byte("{\"a\":1}\nb\r\nc")
	got := testing.AllocsPerRun(100, func() {
		b := AppendEvent(buf, "abcdefgh-1", "x", data)
		b = AppendSeqEvent(b, "abcdefgh", 1, "x", data)
		b = AppendID(b, "abcdefgh-1")
		b = AppendComment(b, "a\nb")
		AppendRetry(b, time.Second)
	})
	if got != 0 {
		t.Errorf("got %v allocations a run, want 0", got)
	}
	if got := testing.AllocsPerRun(100, func() { ParseID("abcdefgh-123") }); got != 0 {
		t.Errorf("ParseID: got %v allocations a run, want 0", got)
	}
}
