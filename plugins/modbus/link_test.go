package main

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"io"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// The examples of "MODBUS over Serial Line V1.02", section 6.2.2, and of the Application Protocol, section 6.3.
func TestFrames(t *testing.T) {
	if got := crc([]byte{0x02, 0x07}); got != 0x1241 {
		t.Errorf("checksum of 02 07: got %04x, want 1241", got)
	}
	r := readOf(holding, 107, 3)
	if got, want := hex.EncodeToString(tcpFrame(0x1501, 0xff, &r)), "150100000006ff03006b0003"; got != want {
		t.Errorf("TCP: got %s, want %s", got, want)
	}
	if got, want := hex.EncodeToString(rtuFrame(0x11, &r)), "1103006b00037687"; got != want {
		t.Errorf("RTU: got %s, want %s", got, want)
	}
	data, err := r.answer([]byte{3, 6, 0x02, 0x2b, 0, 0, 0, 0x64})
	if err != nil || !bytes.Equal(data, []byte{0x02, 0x2b, 0, 0, 0, 0x64}) {
		t.Errorf("answer: got % x, %v", data, err)
	}
}

// dialog is what a hostile device says to a request for input registers 0 and 1 of unit 1. T stands for the
// transaction of the request in hexadecimal, L for that of the one before.
var dialogs = []struct {
	name    string
	rtu     bool
	says    string
	want    string // the data in hexadecimal, or a part of the error
	strange bool   // bytes that nobody asked for are counted
}{
	{"as it should", false, "T 0000 0007 01 04 04 00010002", "00010002", false},
	{"an exception", false, "T 0000 0003 01 84 02", "illegal data address (exception 2)", false},
	{"an exception of the gateway's own", false, "T 0000 0003 ff 84 0b", "doesn't answer the gateway", false},
	{"an exception without a name", false, "T 0000 0003 01 84 63", "for a reason of its own (exception 99)", false},
	{"a late answer first", false, "L 0000 0007 01 04 04 aaaabbbb T 0000 0007 01 04 04 00010002", "00010002", true},
	{"only a late answer", false, "L 0000 0007 01 04 04 aaaabbbb", "not answered in time", true},
	{"something behind the answer", false, "T 0000 0007 01 04 04 00010002 ff", "00010002", true},
	{"another unit", false, "T 0000 0007 02 04 04 00010002", "unit 2 answers in place of 1", false},
	{"another function", false, "T 0000 0007 01 03 04 00010002", "another function", false},
	{"another exception", false, "T 0000 0003 01 83 02", "another function", false},
	{"too little data", false, "T 0000 0005 01 04 02 0001", "breaks the protocol", false},
	{"too much data", false, "T 0000 0009 01 04 06 000100020003", "breaks the protocol", false},
	{"a count that lies", false, "T 0000 0007 01 04 06 00010002", "breaks the protocol", false},
	{"a length that lies", false, "T 0000 0100 01 04 04 00010002", "a frame of 256 bytes", false},
	{"no length", false, "T 0000 0000 01 04 04 00010002", "a frame of 0 bytes", false},
	{"a length of the unit alone", false, "T 0000 0001 01", "a frame of 1 bytes", false},
	{"an empty exception", false, "T 0000 0002 01 84", "another function", false},
	{"another protocol", false, "T 0001 0007 01 04 04 00010002", "no frame of Modbus TCP", false},
	{"RTU", false, "01 04 04 00010002 2b85", "no frame of Modbus TCP", false},
	{"half an answer", false, "T 0000 0007 01 04", "not answered in time", false},
	{"half an answer and the end", false, "T 0000 0007 01 04 end", "connection was closed", false},
	{"the end", false, "end", "connection was closed", false},
	{"nothing", false, "", "not answered in time", false},
	{"garbage without end", false, "garbage", "breaks the protocol", false},
	{"late answers without end", false, "late", "more than 4096 bytes that nobody asked for", true},
	{"a byte now and then", false, "drip", "not answered in time", false},

	{"RTU as it should", true, "01 04 04 00010002 crc", "00010002", false},
	{"RTU: an exception", true, "01 84 02 crc", "illegal data address (exception 2)", false},
	{"RTU: something behind the answer", true, "01 04 04 00010002 crc ff", "00010002", true},
	{"RTU: another unit", true, "02 04 04 00010002 crc", "unit 2 answers", false},
	{"RTU: another function", true, "01 03 04 00010002 crc", "another function", false},
	{"RTU: another count", true, "01 04 02 0001 crc", "2 come", false},
	{"RTU: a wrong checksum", true, "01 04 04 00010002 0000", "checksum", false},
	{"RTU: a wrong checksum of an exception", true, "01 84 02 0000", "checksum", false},
	{"RTU: half an answer", true, "01 04 04 0001", "not answered in time", false},
	{"RTU: the end", true, "01 04 04 0001 end", "connection was closed", false},
	{"RTU: TCP", true, "0001 0000 0007 01 04 04 00010002", "unit 0 answers", false},
	{"RTU: garbage without end", true, "garbage", "breaks the protocol", false},
	{"RTU: a byte now and then", true, "drip", "not answered in time", false},
}

// say says what a dialog has.
func say(w io.WriteCloser, text, transaction string, before string) {
	var frame []byte
	for _, word := range strings.Fields(text) {
		switch word {
		case "T", "L":
			word = map[string]string{"T": transaction, "L": before}[word]
		case "crc":
			sum := crc(frame)
			frame = append(frame, byte(sum), byte(sum>>8))
			continue
		case "end":
			w.Write(frame)
			w.Close()
			return
		case "garbage":
			for {
				if _, err := w.Write(bytes.Repeat([]byte{0xa5, 0x5a, 0x3c}, 100)); err != nil {
					return
				}
			}
		case "late":
			late, _ := hex.DecodeString(before + "000000070104040001" + "0002")
			for {
				if _, err := w.Write(late); err != nil {
					return
				}
				time.Sleep(time.Millisecond) // so that each is looked at
			}
		case "drip":
			for _, b := range []byte{1, 4, 4, 0, 1} {
				time.Sleep(900 * time.Millisecond)
				w.Write([]byte{b})
			}
			return
		}
		b, err := hex.DecodeString(word)
		if err != nil {
			panic(err)
		}
		frame = append(frame, b...)
	}
	w.Write(frame)
}

func TestHostileDevice(t *testing.T) {
	for _, d := range dialogs {
		t.Run(d.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				near, far := net.Pipe()
				l := newLink(near, d.rtu)
				l.transaction = 41
				said := make(chan struct{})
				go func() {
					defer close(said)
					request := make([]byte, map[bool]int{false: 12, true: 8}[d.rtu])
					if _, err := io.ReadFull(far, request); err == nil {
						say(far, d.says, "002a", "0029")
					}
				}()
				r := readOf(input, 0, 2)
				began := time.Now()
				if !l.idle() {
					t.Error("the link is broken before the request")
				}
				data, err := l.exchange(t.Context(), 2*time.Second, 1, &r)
				if got := hex.EncodeToString(data); err == nil && got != d.want {
					t.Errorf("got %s, want %s", got, d.want)
				}
				if err != nil && !strings.Contains(err.Error(), d.want) {
					t.Errorf("got %v, want %s", err, d.want)
				}
				if took := time.Since(began); took > 2*time.Second {
					t.Errorf("it took %v, and should have 2 s at most", took)
				}
				if (l.stray > 0) != d.strange {
					t.Errorf("got %d bytes that nobody asked for, want some: %v", l.stray, d.strange)
				}
				l.close()
				far.Close()
				<-said
			})
		})
	}
}

// What comes between two requests is taken for no answer.
func TestStrayBytes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		near, far := net.Pipe()
		l := newLink(near, true)
		r := readOf(input, 0, 2)
		go func() { // a serial line with an echo: each answer comes twice
			request := make([]byte, 8)
			for n := range byte(3) {
				io.ReadFull(far, request)
				frame := []byte{1, 4, 4, 0, n, 0, n}
				sum := crc(frame)
				frame = append(frame, byte(sum), byte(sum>>8))
				far.Write(frame)
				time.Sleep(time.Millisecond)
				far.Write(frame)
			}
		}()
		for _, want := range []string{"00000000", "00010001", "00020002"} {
			if !l.idle() {
				t.Error("the link is broken")
			}
			data, err := l.exchange(t.Context(), time.Second, 1, &r)
			if got := hex.EncodeToString(data); err != nil || got != want {
				t.Errorf("got %s, %v, want %s", got, err, want)
			}
			time.Sleep(10 * time.Millisecond)
		}
		far.Close()
		synctest.Wait()
		if l.idle() {
			t.Error("a closed connection is good for another request")
		}
		if l.stray != 3*9 {
			t.Errorf("got %d bytes that nobody asked for, want 27", l.stray)
		}
		l.close()
	})
}

// A device that talks without being asked fills no memory.
func TestFloodBetweenRequests(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		near, far := net.Pipe()
		l := newLink(near, false)
		done := make(chan struct{})
		go func() {
			defer close(done)
			for range 1000 {
				if _, err := far.Write(make([]byte, 300)); err != nil {
					return
				}
			}
		}()
		synctest.Wait()
		if n := len(l.came); n > maxStray {
			t.Errorf("%d bytes are held, more than %d", n, maxStray)
		}
		if l.idle() {
			t.Error("the link is good for another request")
		}
		l.close()
		<-done
	})
}

// A request ends with its context, and its connection is of no more use.
func TestCancelledRequest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		near, far := net.Pipe()
		l := newLink(near, false)
		ctx, cancel := context.WithCancel(t.Context())
		go io.Copy(io.Discard, far)
		go func() {
			time.Sleep(time.Second)
			cancel()
		}()
		r := readOf(input, 0, 2)
		if _, err := l.exchange(ctx, time.Minute, 1, &r); !errors.Is(err, context.Canceled) {
			t.Errorf("got %v, want that it was cancelled", err)
		}
		l.close()
		far.Close()
	})
}

// FuzzAnswer holds that whatever a device says, an answer is of the right length and belongs to the request, and
// nothing is taken twice.
func FuzzAnswer(f *testing.F) {
	for _, d := range dialogs {
		var b bytes.Buffer
		if !strings.Contains("garbage late drip", d.says) {
			say(nopCloser{&b}, d.says, "002a", "0029")
		}
		f.Add(b.Bytes(), d.rtu, byte(4), byte(2))
	}
	f.Add([]byte{0, 42, 0, 0, 0, 6, 1, 6, 0, 0, 0, 2}, false, byte(6), byte(2))
	f.Add([]byte{1, 16, 0, 0, 0, 1, 1, 201}, true, byte(16), byte(1))
	f.Fuzz(func(t *testing.T, b []byte, rtu bool, function, n byte) {
		r := readOf(input, 0, int(n)%mostRegisters+1)
		switch function {
		case 1:
			r = readOf(coil, 0, int(n)+1)
		case writeCoil, writeCoils:
			r = writeOf(function, 0, []byte{n & 1})
		case writeRegister, writeRegisters:
			r = writeOf(function, 0, []byte{0, n})
		case maskRegister:
			r = maskOf(0, uint16(n), 1)
		}
		l := &link{rtu: rtu, transaction: 42}
		pdu, rest, err := l.take(b, 1, &r)
		if err != nil || pdu == nil {
			return
		}
		if len(pdu)+len(rest) >= len(b) || len(pdu) > maxPDU {
			t.Errorf("of %d bytes %d are an answer and %d remain", len(b), len(pdu), len(rest))
		}
		data, err := r.answer(pdu)
		if err == nil && (len(data) != r.data || pdu[0] != r.function) {
			t.Errorf("got %d bytes of data of function %d, want %d of %d", len(data), pdu[0], r.data, r.function)
		}
	})
}

type nopCloser struct{ io.Writer }

func (nopCloser) Close() error { return nil }
