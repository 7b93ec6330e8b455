package main

import (
	"bytes"
	"fmt"
	"io"
	"testing"
)

// A device that waits for an answer gets one also for what it may not publish: by a reason code, or, where there is
// none, by the end of the connection.
func TestOwnBrokerRefusesTopics(t *testing.T) {
	address := freePort(t)
	h := listening(t, t.TempDir(), address, "")
	for version, answers := range map[byte][2][]byte{4: {nil, nil}, 5: {{0x40, 0, 7, 0x87}, {0x50, 0, 7, 0x87}}} {
		for _, topic := range []string{"$SYS/broker/version", "$sys/x", "$own", "a/#", "a/+/b"} {
			for i, want := range answers {
				t.Run(fmt.Sprintf("version %d, %s, quality %d", version, topic, i+1), func(t *testing.T) {
					c := connected(t, address, version)
					body := append([]byte{0, byte(len(topic))}, topic...)
					body = append(body, 0, 7) // its id
					if version == 5 {
						body = append(body, 0) // no properties
					}
					body = append(body, "x"...)
					if _, err := c.Write(append([]byte{0x30 | byte(i+1)<<1, byte(len(body))}, body...)); err != nil {
						t.Fatal(err)
					}
					if version == 4 {
						if got, err := io.ReadAll(c); err != nil || len(got) > 0 {
							t.Errorf("got % x and %v, want the end of the connection", got, err)
						}
						return
					}
					got := make([]byte, 2)
					if _, err := io.ReadFull(c, got); err != nil {
						t.Fatal(err)
					}
					rest := make([]byte, got[1])
					if _, err := io.ReadFull(c, rest); err != nil || !bytes.HasPrefix(append(got[:1], rest...), want) {
						t.Errorf("got % x % x and %v, want an answer of % x", got[:1], rest, err, want)
					}
				})
			}
		}
	}
	h.Until("it is told", func() bool {
		return logged(h, "only the broker publishes to topics that begin with $") && logged(h, "a topic with a wildcard")
	})
}
