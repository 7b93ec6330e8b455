package broadcast

import (
	"testing"
	"time"
)

// A format is encoded from its first stream on until a minute after its last.
func TestUnusedFormatsAreNotEncoded(t *testing.T) {
	bothPumps(t, func(t *testing.T, p bool) {
		encoded := 0
		w := newWorld(t, func(c *Config) {
			c.portable = p
			write := c.Formats[0].Append
			c.Formats[0].Append = func(dst []byte, ev *Event) []byte { encoded++; return write(dst, ev) }
		})
		name := w.hub.cfg.Formats[0].Name
		expect := func(when string, want int) {
			t.Helper()
			encoded = 0
			w.publish(10, plain)
			if encoded != want {
				t.Errorf("%s: %d of 10 events are encoded, want %d", when, encoded, want)
			}
		}
		expect("before the first stream", 0)
		c := w.open(Request{Format: name, Selection: Selection{Types: []string{"never"}}})
		expect("with a stream", 10)
		for range 5 {
			w.pass(keepUnused)
		}
		expect("with a stream that is old", 10)
		c.conn.Close()
		until(t, "the stream to be gone", func() bool { return w.hub.Stats().Streams == 0 })
		w.pass(time.Second)
		w.pass(keepUnused / 2)
		expect("soon after the last stream", 10)
		w.pass(keepUnused)
		expect("long after the last stream", 0)
		if st := w.hub.Stats(); st.TapeBytes != 0 {
			t.Errorf("got %d bytes on tapes, want none", st.TapeBytes)
		}
		again := w.open(Request{Format: name, Resume: true, After: 5})
		w.publish(1, plain)
		again.readTo(w.head())
		again.expect(Selection{}, 5, w.head())
	})
}
