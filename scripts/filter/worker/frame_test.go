package worker

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"io"
	"os"
	"reflect"
	"strings"
	"testing"
	"time"
)

// TestTheEndOfTheInput ends the input while a filter hangs: the worker has to
// notice.
func TestTheEndOfTheInput(t *testing.T) {
	in, to := io.Pipe()
	from, out := io.Pipe()
	gone := make(chan struct{})
	go serve(bufio.NewReader(in), out, func(int64) {}, func() { close(gone) })
	b, start := beginFrame(nil, kindHello)
	b = binary.AppendUvarint(b, protocolVersion)
	b = endFrame(append(binary.AppendUvarint(b, 64<<20), 0), start)
	go to.Write(load{id: 7, source: "for (let i = 0; i < 1e9; i++);"}.append(b))
	r := bufio.NewReader(from)
	for _, want := range []byte{kindReady, kindAt} {
		if kind, _, err := readFrame(r, maxReply); kind != want || err != nil {
			t.Fatalf("got a frame of kind %d and %v, want %d", kind, err, want)
		}
	}
	to.Close()
	select {
	case <-gone:
	case <-time.After(time.Minute):
		t.Error("the worker did not notice the end of its input")
	}
	from.Close()
}

// lie is a worker that answers nonsense: the binary's TestMain calls it.
func lie(how string) {
	r := bufio.NewReader(os.Stdin)
	for {
		kind, body, err := readFrame(r, maxRequest)
		if err != nil {
			return
		}
		d := decoder{s: body}
		var answer []byte
		switch kind {
		case kindHello:
			b, start := beginFrame(nil, kindReady)
			answer = endFrame(append(b, protocolVersion), start)
		case kindLoad:
			answer = loaded{id: d.load().id}.append(nil)
		case kindBatch:
			number := d.uint()
			switch how {
			case "another batch":
				answer = (&part{batch: number + 1, count: 1, matches: bitmap{1}}).append(nil)
			case "too many events":
				answer = (&part{batch: number, count: 1 << 20, matches: bitmap{1}}).append(nil)
			case "too few bits":
				answer = (&part{batch: number, count: 10}).append(nil)
			case "no end":
				answer = bytes.Repeat([]byte{0xff}, 1<<20)
			case "a long frame":
				answer = []byte{0xff, 0xff, 0xff, 0x7f, kindPart}
			case "another kind":
				answer = []byte{1, 0, 0, 0, 99}
			case "no body":
				answer = []byte{1, 0, 0, 0, kindPart}
			}
		}
		os.Stdout.Write(answer)
	}
}

func TestAWorkerThatLies(t *testing.T) {
	for _, how := range []string{"another batch", "too many events", "too few bits", "no end", "a long frame", "another kind", "no body"} {
		p := newTestPool(t, Options{})
		p.o.Command = []string{os.Args[0], "lie", how}
		f := compileAll(t, p, "operator", "e => true")
		err := p.Decide(context.Background(), "operator", lights(10), f, nil, nil)
		if err == nil || !strings.Contains(err.Error(), "deciding about events") {
			t.Errorf("%s: got %v, want an error", how, err)
		}
		if s := p.Stats(); s.Started > attempts+1 {
			t.Errorf("%s: got %d processes, want %d at most", how, s.Started, attempts+1)
		}
	}
}

func TestMessages(t *testing.T) {
	want := &part{batch: 1 << 40, first: 3, count: 9, matches: bitmap{1, 2, 255}, extras: []extra{{3, 0, extraProjection, `{"a":1}`}, {11, 70000, extraError, "no"}}}
	r := bufio.NewReader(bytes.NewReader(want.append(nil)))
	kind, body, err := readFrame(r, maxReply)
	d := &decoder{s: body}
	if got := d.part(); kind != kindPart || err != nil || d.bad || d.s != "" || !reflect.DeepEqual(got, want) {
		t.Errorf("got %v, %v, want %v", got, err, want)
	}
	var b []byte
	for _, e := range lights(2) {
		b = appendEvent(b, e)
	}
	d = &decoder{s: asString(b)}
	d.event()
	if e := d.event(); d.bad || d.s != "" || e.seq != 2 || e.time != 1767225605678 || e.new.state != "on" || e.old.changed != 1767225600123 || e.domain != "light" || e.source != "hall.js@7" {
		t.Errorf("an event: got %+v", e)
	}
}

// FuzzDecoder reads what no worker writes: it must be refused, or be small.
func FuzzDecoder(f *testing.F) {
	f.Add((&part{batch: 1, count: 2, matches: bitmap{3}, extras: []extra{{0, 1, 1, "x"}}}).append(nil)[5:])
	f.Add(load{1, "a", "b", "c"}.append(nil)[5:])
	f.Add(appendEvent(nil, lights(1)[0]))
	f.Fuzz(func(t *testing.T, b []byte) {
		for _, read := range []func(*decoder){
			func(d *decoder) {
				if m := d.part(); len(m.extras) > len(b) || len(m.matches) > len(b) {
					t.Errorf("a part: got %d extras and %d bytes from %d", len(m.extras), len(m.matches), len(b))
				}
			},
			func(d *decoder) { d.load() },
			func(d *decoder) { d.loaded() },
			func(d *decoder) {
				if m := d.batch(nil); len(m.events) > len(b) || len(m.programs) > len(b) {
					t.Errorf("a batch: got %d events and %d filters from %d bytes", len(m.events), len(m.programs), len(b))
				}
			},
		} {
			read(&decoder{s: string(b)})
		}
	})
}
