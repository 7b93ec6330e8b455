package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// boiler is a device with one of most things.
const boiler = `{"devices": [{"id": "boiler", "address": "boiler:502", "interval": "10s", "timeout": "1s", "retries": 0, "entities": [
	{"id": "sensor.flow", "table": "input", "address": 0, "type": "int16", "scale": 0.1},
	{"id": "sensor.return", "table": "input", "address": 1, "type": "int16", "scale": 0.1, "invalid": [32768]},
	{"id": "sensor.energy", "table": "input", "address": 2, "type": "uint32", "interval": "60s"},
	{"id": "binary_sensor.alarm", "table": "discrete", "address": 0},
	{"id": "binary_sensor.pump", "table": "holding", "address": 1, "bit": 3},
	{"id": "switch.heating", "table": "coil", "address": 5},
	{"id": "switch.boost", "table": "holding", "address": 1, "bit": 0},
	{"id": "number.target", "table": "holding", "address": 0, "type": "int16", "scale": 0.5, "min": 20, "max": 60},
	{"id": "select.mode", "table": "holding", "address": 2, "map": {"0": "off", "1": "heating", "0x10": "cooling"}},
	{"id": "button.reset", "table": "coil", "address": 6}
]}]}`

func boilerValues() map[place]uint16 {
	return map[place]uint16{
		{input, 0}: 355, {input, 1}: 0xffce, {input, 2}: 1, {input, 3}: 2, {discrete, 0}: 0, {coil, 5}: 1, {coil, 6}: 0,
		{holding, 0}: 90, {holding, 1}: 8, {holding, 2}: 1,
	}
}

// boilerStates is what boilerValues are, in the order in which they are read.
var boilerStates = []string{
	"binary_sensor.alarm=off", "binary_sensor.pump=on", "number.target=45.0", "select.mode=heating", "sensor.energy=65538",
	"sensor.flow=35.5", "sensor.return=-5.0", "switch.boost=off", "switch.heating=on",
}

func TestPolling(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake(boilerValues())
		b := run(t, boiler, f.dial)
		defer b.end()
		synctest.Wait()
		got := sorted(b.news())
		same(t, "the first round", got, boilerStates...)
		requests := sorted(f.asked())
		same(t, "requests", requests, "1: 1 5 0001", "1: 2 0 0001", "1: 3 0 0003", "1: 4 0 0002", "1: 4 2 0002")
		if ready, detail := b.Health(); !ready || detail != "" {
			t.Errorf("health: got %v, %q, want ready", ready, detail)
		}
		time.Sleep(10 * time.Second)
		synctest.Wait()
		same(t, "a round without changes", b.news())
		if got, want := b.toldAll(), 9+8; got != want { // all but one are read every 10 s
			t.Errorf("two rounds: got %d states that were told, want %d: the server must hear what is as it was", got, want)
		}
		if n := len(f.asked()); n != 4 {
			t.Errorf("a round: got %d requests, want 4", n)
		}
		f.set(place{input, 0}, 360)
		f.set(place{input, 1}, 0x8000)
		f.set(place{holding, 2}, 7)
		time.Sleep(10 * time.Second)
		synctest.Wait()
		got = sorted(b.news())
		same(t, "changes", got, "select.mode=unknown", "sensor.flow=36.0", "sensor.return=unknown")
		if n := b.logLines("no word for"); n != 1 {
			t.Errorf("a value without a word: got %d lines, want 1", n)
		}
		time.Sleep(41 * time.Second)
		synctest.Wait()
		if n := len(f.asked()); n != 5*4+1 {
			t.Errorf("the second minute's begin: got %d requests, want 21", n)
		}
		if f.dials != 1 {
			t.Errorf("got %d connections, want 1", f.dials)
		}
	})
}

func TestSilentDevice(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake(map[place]uint16{{input, 0}: 1, {input, 9}: 2})
		f.refuses = true
		b := run(t, `{"devices": [{"id": "meter", "address": "meter:502", "retries": 0, "entities": [
			{"id": "sensor.a", "table": "input", "address": 0}, {"id": "sensor.b", "table": "input", "address": 9},
			{"id": "button.c", "table": "coil", "address": 0}]}]}`, f.dial)
		defer b.end()
		synctest.Wait()
		same(t, "a device that refuses connections", b.news(), "sensor.a away", "sensor.b away", "button.c away")
		if ready, detail := b.Health(); ready || detail != "meter (unit 1 at meter:502): connecting: connection refused" {
			t.Errorf("health: got %v, %q", ready, detail)
		}
		time.Sleep(200 * time.Second)
		synctest.Wait()
		if f.dials < 9 || f.dials > 12 { // after 0, 1, 3, 7, 15, 31, 61, 91 … s
			t.Errorf("got %d tries to connect within 200 s, want about 11", f.dials)
		}
		if n := b.logLines("doesn't answer"); n != 1 {
			t.Errorf("got %d lines about it, want 1", n)
		}
		f.refuse(false)
		time.Sleep(lastRetry)
		synctest.Wait()
		same(t, "a device that is back", sorted(b.news()), "button.c back", "sensor.a back", "sensor.a=1", "sensor.b back", "sensor.b=2")
		f.refuse(false) // its connections end, and it takes new ones
		time.Sleep(10 * time.Second)
		synctest.Wait()
		same(t, "a connection that was closed", b.news())
		f.silence(1, true)
		time.Sleep(13 * time.Second)
		synctest.Wait()
		same(t, "a device that hangs", b.news(), "sensor.a away", "sensor.b away", "button.c away")
		f.silence(1, false)
		time.Sleep(10 * time.Second)
		synctest.Wait()
		same(t, "a device that is back with what it had", sorted(b.news()), "button.c back", "sensor.a back", "sensor.a=1", "sensor.b back", "sensor.b=2")
		if ready, detail := b.Health(); !ready || detail != "" {
			t.Errorf("health: got %v, %q, want ready", ready, detail)
		}
	})
}

// Without a connection all units behind it are away at once, and one try finds them all back.
func TestSilentGateway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake(map[place]uint16{{input, 0}: 1})
		f.refuses = true
		b := run(t, `{"devices": [
			{"address": "d:502", "entities": [{"id": "sensor.a", "table": "input", "address": 0}, {"id": "sensor.b", "table": "input", "address": 0, "unit_id": 7}]},
			{"address": "d:502", "unit_id": 2, "entities": [{"id": "sensor.c", "table": "input", "address": 0}]}]}`, f.dial)
		defer b.end()
		time.Sleep(20 * time.Second)
		synctest.Wait()
		same(t, "states", b.news(), "sensor.a away", "sensor.b away", "sensor.c away")
		if f.dials != 5 { // after 0, 1, 3, 7 and 15 s
			t.Errorf("got %d tries to connect, want 5", f.dials)
		}
		if n := b.metrics["units_silent"]; n != 3 {
			t.Errorf("got %v units that are silent, want 3", n)
		}
		f.refuse(false)
		time.Sleep(12 * time.Second)
		synctest.Wait()
		same(t, "back", sorted(b.news()), "sensor.a back", "sensor.a=1", "sensor.b back", "sensor.b=1", "sensor.c back", "sensor.c=1")
		same(t, "requests", sorted(f.asked()), "1: 4 0 0001", "2: 4 0 0001", "7: 4 0 0001")
		if n := b.metrics["units_silent"]; n != 0 {
			t.Errorf("got %v units that are silent, want none", n)
		}
	})
}

// One that doesn't answer delays nobody on another connection, and those behind the same gateway by
// little.
func TestDeadNeighbour(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake(map[place]uint16{{input, 0}: 1})
		f.mute[2] = true
		var config []string
		for _, where := range []string{"hall:502 1", "hall:502 2", "void:502 1", "barn:502 1"} {
			address, unit, _ := strings.Cut(where, " ")
			id := strings.NewReplacer(":", "_", " ", "_").Replace(where)
			config = append(config, fmt.Sprintf(`{"id": %q, "address": %q, "unit_id": %s, "interval": "1s", "timeout": "2s", "entities": [
				{"id": "sensor.%s", "table": "input", "address": 0}]}`, id, address, unit, id))
		}
		dial := func(ctx context.Context, network, address string) (net.Conn, error) {
			if address == "void:502" {
				<-ctx.Done() // nobody says that there is nobody
				return nil, ctx.Err()
			}
			return f.dial(ctx, network, address)
		}
		b := run(t, `{"devices": [`+strings.Join(config, ",")+`]}`, dial)
		defer b.end()
		time.Sleep(100 * time.Second)
		synctest.Wait()
		counts := map[string]int{}
		for _, r := range f.asked() {
			counts[r[:2]]++
		}
		if counts["1:"] < 170 || counts["2:"] < 5 || counts["2:"] > 8 {
			t.Errorf("requests within 100 s: got %v, want nearly 200 of unit 1, some of unit 2", counts)
		}
		got := sorted(b.news())
		same(t, "states", got, "sensor.barn_502_1=1", "sensor.hall_502_1=1", "sensor.hall_502_2 away", "sensor.void_502_1 away")
		if f.dials != 2 {
			t.Errorf("got %d connections, want one to the hall and one to the barn: a silent unit costs none", f.dials)
		}
		ready, detail := b.Health()
		if !ready || !strings.Contains(detail, "hall_502_2 (unit 2 at hall:502): it has not answered in time") || !strings.Contains(detail, "void_502_1") {
			t.Errorf("health: got %v, %q, want ready, and the two that don't answer", ready, detail)
		}
	})
}

// A read that is lost once is repeated, and nobody hears of it.
func TestRetry(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake(map[place]uint16{{input, 0}: 7})
		f.ignoreOne()
		b := run(t, `{"devices": [{"address": "a:502", "entities": [{"id": "sensor.a", "table": "input", "address": 0}]}]}`, f.dial)
		defer b.end()
		time.Sleep(4 * time.Second)
		synctest.Wait()
		same(t, "states", b.news(), "sensor.a=7")
		same(t, "requests", f.asked(), "1: 4 0 0001", "1: 4 0 0001")
		if b.metrics["timeouts_total"] != 1 || b.metrics["reconnects_total"] != 0 {
			t.Errorf("metrics: got %v, want one time-out on the same connection", b.metrics)
		}
	})
}

// Without its host an adapter has nothing to do.
func TestHostThatIsGone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake(map[place]uint16{{input, 0}: 1})
		g := newGateway()
		g.dial = f.dial
		for _, address := range []string{"a:502", "b:502"} {
			g.devices = append(g.devices, &device{address: address, timeout: time.Second, limits: limits{registers: 1}, points: []*point{
				{id: "sensor." + address[:1], domain: "sensor", place: place{input, 0}, length: 1, kind: kinds["uint16"], bit: -1, every: time.Second}}})
		}
		gone := errors.New("gone")
		if err := runAll(t.Context(), g.connect(&recorder{err: gone})); !errors.Is(err, gone) {
			t.Errorf("got %v, want that the host is gone", err)
		}
	})
}

// A device that is busy for a moment keeps what it told.
func TestBusyDevice(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake(map[place]uint16{{input, 0}: 1})
		b := run(t, `{"devices": [{"address": "d:502", "interval": "1s", "entities": [{"id": "sensor.a", "table": "input", "address": 0}]}]}`, f.dial)
		defer b.end()
		synctest.Wait()
		code := byte(6)
		f.mu.Lock()
		f.code = func(request) byte { return code }
		f.mu.Unlock()
		time.Sleep(2500 * time.Millisecond)
		f.mu.Lock()
		code = 0
		f.mu.Unlock()
		time.Sleep(time.Second)
		synctest.Wait()
		same(t, "busy twice", b.news(), "sensor.a=1")
		f.mu.Lock()
		code = 6
		f.mu.Unlock()
		time.Sleep(3 * time.Second)
		synctest.Wait()
		same(t, "busy three times", b.news(), "sensor.a away")
		f.mu.Lock()
		code = 0
		f.mu.Unlock()
		time.Sleep(time.Second)
		synctest.Wait()
		same(t, "well again", b.news(), "sensor.a=1", "sensor.a back")
	})
}

// What a gateway says of a unit that it doesn't reach is as good as silence.
func TestGatewayWithoutUnit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake(map[place]uint16{{input, 0}: 1})
		f.code = func(request) byte { return 11 }
		b := run(t, `{"devices": [{"address": "d:502", "entities": [{"id": "sensor.a", "table": "input", "address": 0}]}]}`, f.dial)
		defer b.end()
		synctest.Wait()
		same(t, "states", b.news(), "sensor.a away")
		if ready, detail := b.Health(); ready || !strings.Contains(detail, "the unit doesn't answer the gateway (exception 11)") {
			t.Errorf("health: got %v, %q", ready, detail)
		}
		if f.dials != 1 {
			t.Errorf("got %d connections, want 1: the gateway is there", f.dials)
		}
	})
}

// A connection that leads nowhere any more is given up, and another tried.
func TestDeadConnection(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake(map[place]uint16{{input, 0}: 1})
		b := run(t, `{"devices": [{"address": "d:502", "timeout": "1s", "entities": [{"id": "sensor.a", "table": "input", "address": 0}]}]}`, f.dial)
		defer b.end()
		synctest.Wait()
		b.news()
		f.mu.Lock()
		dead := f.conns[0]
		f.instead = func(c net.Conn, right []byte) {
			if c != dead {
				c.Write(right)
			}
		}
		f.mu.Unlock()
		time.Sleep(20 * time.Second)
		synctest.Wait()
		same(t, "states", b.news(), "sensor.a away", "sensor.a=1", "sensor.a back")
		if f.dials != 2 {
			t.Errorf("got %d connections, want a second one", f.dials)
		}
	})
}

// The rest of an answer that comes with the next one spoils nothing.
func TestHalfAnAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake(map[place]uint16{{input, 0}: 1})
		var rest []byte
		f.instead = func(c net.Conn, right []byte) {
			if rest == nil {
				c.Write(right[:9])
				rest = right[9:]
				return
			}
			c.Write(append(rest, right...))
			rest = []byte{}
		}
		b := run(t, `{"devices": [{"address": "d:502", "timeout": "1s", "entities": [{"id": "sensor.a", "table": "input", "address": 0}]}]}`, func(ctx context.Context, network, address string) (net.Conn, error) {
			f.mu.Lock()
			if f.dials > 0 {
				f.instead = nil // it begins anew with a new connection
			}
			f.mu.Unlock()
			return f.dial(ctx, network, address)
		})
		defer b.end()
		time.Sleep(5 * time.Second)
		synctest.Wait()
		same(t, "states", b.news(), "sensor.a=1")
	})
}

// Requests keep a distance, and a device that needs a while after connecting gets it.
func TestPauses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake(map[place]uint16{{input, 0}: 1, {holding, 0}: 2, {coil, 0}: 1})
		began := time.Now()
		b := run(t, `{"devices": [{"address": "d:502", "pause": "200ms", "connect_delay": "2s", "entities": [{"id": "sensor.a", "table": "input", "address": 0},
			{"id": "sensor.b", "table": "holding", "address": 0}, {"id": "binary_sensor.c", "table": "coil", "address": 0}]}]}`, f.dial)
		defer b.end()
		for len(b.news()) == 0 {
			time.Sleep(time.Millisecond)
		}
		if took := time.Since(began); took < 2*time.Second || took > 2100*time.Millisecond {
			t.Errorf("the first state came after %v, want 2 s", took)
		}
		time.Sleep(300 * time.Millisecond)
		synctest.Wait()
		if n := len(b.news()); n != 1 {
			t.Errorf("got %d states 300 ms later, want 1", n)
		}
	})
}

// A device that is slower than its interval is asked as fast as it answers, and that is counted.
func TestTooShortInterval(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake(map[place]uint16{{input, 0}: 1, {holding, 0}: 2})
		b := run(t, `{"devices": [{"address": "d:502", "pause": "1s", "interval": "1s", "entities": [
			{"id": "sensor.a", "table": "input", "address": 0}, {"id": "sensor.b", "table": "holding", "address": 0}]}]}`, f.dial)
		defer b.end()
		time.Sleep(20500 * time.Millisecond)
		synctest.Wait()
		counts := map[string]int{}
		for _, r := range f.asked() {
			counts[r]++
		}
		if counts["1: 4 0 0001"] < 9 || counts["1: 3 0 0001"] < 9 || b.metrics["polls_skipped_total"] < 15 {
			t.Errorf("got %v and %v skipped, want both in turn, and every other one skipped", counts, b.metrics["polls_skipped_total"])
		}
	})
}
