package main

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func TestCommands(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake(boilerValues())
		b := run(t, boiler, f.dial)
		defer b.end()
		synctest.Wait()
		b.news()
		f.asked()
		for _, test := range []struct {
			entity, service, data string
			requests, said        string // separated by ;
			err                   string
		}{
			{"switch.heating", "turn_off", `{}`, "1: 5 5 0000; 1: 1 5 0001", "switch.heating=off", ""},
			{"switch.heating", "turn_on", ``, "1: 5 5 ff00; 1: 1 5 0001", "switch.heating=on", ""},
			{"switch.heating", "toggle", `{}`, "1: 1 5 0001; 1: 5 5 0000; 1: 1 5 0001", "switch.heating=off", ""},
			{"switch.boost", "turn_on", `{}`, "1: 3 1 0001; 1: 6 1 0009; 1: 3 1 0001", "switch.boost=on", ""},
			{"switch.boost", "turn_off", `{}`, "1: 3 1 0001; 1: 6 1 0008; 1: 3 1 0001", "switch.boost=off", ""},
			{"number.target", "set_value", `{"value": 50.5}`, "1: 6 0 0065; 1: 3 0 0001", "number.target=50.5", ""},
			{"number.target", "set_value", `{"value": "21"}`, "1: 6 0 002a; 1: 3 0 0001", "number.target=21.0", ""},
			{"number.target", "set_value", `{"value": 21.2}`, "1: 6 0 002a; 1: 3 0 0001", "", ""}, // it was so before
			{"number.target", "set_value", `{"value": 61}`, "", "", "it can be set to 20 to 60, not to 61"},
			{"number.target", "set_value", `{"value": "warm"}`, "", "", `set_value needs a number, such as {"value": 21.5}`},
			{"number.target", "set_value", `{}`, "", "", `set_value needs a number, such as {"value": 21.5}`},
			{"number.target", "set_value", `{"value": null}`, "", "", `set_value needs a number, such as {"value": 21.5}`},
			{"select.mode", "select_option", `{"option": "cooling"}`, "1: 6 2 0010; 1: 3 2 0001", "select.mode=cooling", ""},
			{"select.mode", "select_option", `{"option": "party"}`, "", "", `it has no option "party"; it has ["off" "heating" "cooling"]`},
			{"select.mode", "select_option", `{}`, "", "", `select_option needs an option, such as {"option": "off"}`},
			{"select.mode", "select_option", `{"option": 5}`, "", "", `the data of select.select_option: option must be text`},
			{"button.reset", "press", `{}`, "1: 5 6 ff00", "button.reset=2000-01-01T00:00:00Z", ""},
		} {
			what := fmt.Sprintf("%s.%s(%s)", test.entity, test.service, test.data)
			if got := b.do(test.entity, test.service, test.data); (got == "") != (test.err == "") || !strings.HasPrefix(got, test.err) {
				t.Errorf("%s: got %q, want %q", what, got, test.err)
			}
			if got := strings.Join(f.asked(), "; "); got != test.requests {
				t.Errorf("%s: got requests %s, want %s", what, got, test.requests)
			}
			if got := strings.Join(b.news(), "; "); got != test.said {
				t.Errorf("%s: got %s, want %s", what, got, test.said)
			}
		}
	})
}

// How an entity is written is configured: elsewhere, by another function, in another order.
func TestWriting(t *testing.T) {
	for _, test := range []struct {
		entity, service, data string
		requests, said        string
	}{
		{`{"id": "number.a", "table": "holding", "address": 0, "write": {"function": 16}}`, "set_value", `{"value": 258}`,
			"1: 16 0 0001020102; 1: 3 0 0001", "number.a=258"},
		{`{"id": "number.a", "table": "holding", "address": 0, "type": "float32", "order": "CDAB"}`, "set_value", `{"value": 21.5}`,
			"1: 16 0 00020400" + "0041ac; 1: 3 0 0002", "number.a=21.5"},
		{`{"id": "number.a", "table": "input", "address": 0, "write": {"table": "holding", "address": 100}}`, "set_value", `{"value": 7}`,
			"1: 6 100 0007; 1: 4 0 0001", ""}, // it was so before
		{`{"id": "switch.a", "table": "coil", "address": 0, "write": {"function": 15}}`, "turn_on", `{}`,
			"1: 15 0 00010101; 1: 1 0 0001", "switch.a=on"},
		{`{"id": "switch.a", "table": "holding", "address": 0, "bit": 9, "write": {"function": 22}}`, "turn_on", `{}`,
			"1: 22 0 fdff0200; 1: 3 0 0001", "switch.a=on"},
		{`{"id": "switch.a", "table": "holding", "address": 0, "bit": 9, "order": "BADC"}`, "turn_on", `{}`,
			"1: 3 0 0001; 1: 6 0 0002; 1: 3 0 0001", "switch.a=on"},
		{`{"id": "switch.a", "table": "holding", "address": 0, "on_value": 170, "off_value": 85}`, "turn_on", `{}`,
			"1: 6 0 00aa; 1: 3 0 0001", "switch.a=on"},
		{`{"id": "switch.a", "table": "coil", "address": 0, "on_value": 0, "off_value": 1}`, "turn_off", `{}`,
			"1: 5 0 ff00; 1: 1 0 0001", "switch.a=off"},
		{`{"id": "switch.a", "table": "discrete", "address": 0, "write": {"table": "coil", "address": 8, "verify": false}}`, "turn_on", `{}`,
			"1: 5 8 ff00", "switch.a=on"},
		{`{"id": "switch.a", "table": "input", "address": 0, "bit": 3, "write": {"table": "coil", "address": 8, "verify": false}}`, "turn_on", `{}`,
			"1: 5 8 ff00", "switch.a=on"},
		{`{"id": "button.a", "table": "holding", "address": 9, "press_value": 4660, "unit_id": 7}`, "press", `{}`,
			"7: 6 9 1234", "button.a=2000-01-01T00:00:01Z"},
		{`{"id": "number.a", "table": "holding", "address": 0, "type": "int32", "scale": -0.01, "offset": 5}`, "set_value", `{"value": 6}`,
			"1: 16 0 000204ffffff9c; 1: 3 0 0002", "number.a=6.00"},
	} {
		synctest.Test(t, func(t *testing.T) {
			f := newFake(map[place]uint16{{holding, 0}: 0, {holding, 1}: 0, {coil, 0}: 0, {discrete, 0}: 0, {input, 0}: 7})
			b := run(t, `{"devices": [{"address": "d:502", "entities": [`+test.entity+`, {"id": "sensor.other", "table": "holding", "address": 0}]}]}`, f.dial)
			defer b.end()
			time.Sleep(time.Second)
			synctest.Wait()
			b.news()
			f.asked()
			id, _, _ := strings.Cut(strings.TrimPrefix(test.entity, `{"id": "`), `"`)
			if got := b.do(id, test.service, test.data); got != "" {
				t.Errorf("%s: %s", test.entity, got)
			}
			if got := strings.Join(f.asked(), "; "); got != test.requests {
				t.Errorf("%s: got requests %s, want %s", test.entity, got, test.requests)
			}
			if got := strings.Join(b.news(), "; "); got != test.said {
				t.Errorf("%s: got %s, want %s", test.entity, got, test.said)
			}
		})
	}
}

// What a device says against a command is the command's error; the entity shows what is.
func TestCommandsThatFail(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake(boilerValues())
		b := run(t, boiler, f.dial)
		defer b.end()
		synctest.Wait()
		b.news()
		code := func(c func(request) byte) {
			f.mu.Lock()
			defer f.mu.Unlock()
			f.code = c
		}
		code(func(r request) byte {
			if r.function == 6 {
				return 3
			}
			return 0
		})
		if got, want := b.do("number.target", "set_value", `{"value": 30}`), "writing holding 0: the device refuses it: illegal data value (exception 3)"; got != want {
			t.Errorf("got %q, want %q", got, want)
		}
		same(t, "said", b.news())
		code(func(r request) byte { // it takes the command and does nothing
			if r.function == 5 {
				f.values[place{coil, 5}] = 1
				f.code = func(r request) byte { f.values[place{coil, 5}] = 1; return 0 }
			}
			return 0
		})
		got := b.do("switch.heating", "turn_off", `{}`)
		if want := "it was set to off, and is on: the device doesn't take that, or needs longer than write.settle allows"; got != want {
			t.Errorf("got %q, want %q", got, want)
		}
		code(nil)
		synctest.Wait()
		f.ignoreOne()
		if got, want := b.do("switch.heating", "turn_off", `{}`), "writing coil 5: it has not answered in time: 1s"; got != want {
			t.Errorf("got %q, want %q", got, want)
		}
		time.Sleep(time.Second)
		synctest.Wait()
		same(t, "what the polls find that follow", b.news(), "switch.heating=off") // it had done it
		f.refuse(true)
		synctest.Wait() // until the end of the connection is noticed
		if got, want := b.do("switch.heating", "turn_on", `{}`), "writing coil 5: connecting: connection refused"; got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	})
}

// A valve takes a while.
func TestSettle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake(map[place]uint16{{discrete, 0}: 0, {coil, 0}: 0})
		b := run(t, `{"devices": [{"address": "d:502", "entities": [
			{"id": "switch.valve", "table": "discrete", "address": 0, "write": {"table": "coil", "address": 0, "settle": "2s"}}]}]}`, f.dial)
		defer b.end()
		synctest.Wait()
		b.news()
		go func() {
			time.Sleep(1500 * time.Millisecond)
			f.set(place{discrete, 0}, 1)
		}()
		began := time.Now()
		if got := b.do("switch.valve", "turn_on", `{}`); got != "" {
			t.Error(got)
		}
		if took := time.Since(began); took < 1500*time.Millisecond || took > 1700*time.Millisecond {
			t.Errorf("got an answer after %v, want 1.5 s", took)
		}
		same(t, "said", b.news(), "switch.valve=on")
		if got := b.do("switch.valve", "turn_off", `{}`); !strings.Contains(got, "was set to off, and is on") {
			t.Errorf("got %q, want that it is on still", got)
		}
	})
}

// Commands go before polls: with a hundred polls due on a slow line, a command waits for one.
func TestCommandsGoFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		values := map[place]uint16{{coil, 0}: 0}
		entities := []string{`{"id": "switch.a", "table": "coil", "address": 0}`}
		for i := range 100 {
			values[place{holding, uint16(2 * i)}] = 1
			entities = append(entities, fmt.Sprintf(`{"id": "sensor.r%d", "table": "holding", "address": %d}`, i, 2*i))
		}
		f := newFake(values)
		b := run(t, `{"devices": [{"address": "d:502", "pause": "100ms", "entities": [`+strings.Join(entities, ",")+`]}]}`, f.dial)
		defer b.end()
		time.Sleep(time.Second)
		began := time.Now()
		if got := b.do("switch.a", "turn_on", `{}`); got != "" {
			t.Error(got)
		}
		if took := time.Since(began); took > 350*time.Millisecond {
			t.Errorf("the command took %v, want the time of three requests", took)
		}
	})
}

// What a command could not tell, since its time was up, the next poll tells.
func TestCommandWithoutTimeToTell(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake(map[place]uint16{{coil, 0}: 0})
		b := run(t, `{"devices": [{"address": "d:502", "entities": [{"id": "switch.a", "table": "coil", "address": 0}]}]}`, f.dial)
		defer b.end()
		synctest.Wait()
		b.news()
		b.fail(context.DeadlineExceeded)
		if got := b.do("switch.a", "turn_on", `{}`); got != "publishing: context deadline exceeded" {
			t.Errorf("got %q, want the deadline", got)
		}
		b.fail(nil)
		time.Sleep(10 * time.Second)
		synctest.Wait()
		same(t, "said", b.news(), "switch.a=on")
	})
}

// A command to a silent device is tried at once, and brings the device back if it answers.
func TestCommandFindsDevice(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake(map[place]uint16{{coil, 0}: 0, {holding, 0}: 5})
		f.refuses = true
		b := run(t, `{"devices": [{"address": "d:502", "entities": [{"id": "switch.a", "table": "coil", "address": 0},
			{"id": "sensor.b", "table": "holding", "address": 0}]}]}`, f.dial)
		defer b.end()
		time.Sleep(2 * time.Minute)
		synctest.Wait()
		b.news()
		f.refuse(false)
		if got := b.do("switch.a", "turn_on", `{}`); got != "" {
			t.Error(got)
		}
		synctest.Wait()
		same(t, "said", b.news(), "switch.a=on", "switch.a back", "sensor.b=5", "sensor.b back")
	})
}

// A command that nobody waits for any more is not carried out later.
func TestCommandThatNobodyWaitsFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake(map[place]uint16{{coil, 0}: 0})
		f.mute[1] = true
		b := run(t, `{"devices": [{"address": "d:502", "timeout": "10s", "retries": 0, "entities": [{"id": "switch.a", "table": "coil", "address": 0}]}]}`, f.dial)
		defer b.end()
		synctest.Wait() // the first poll is under way
		f.asked()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		err := b.gateway.lines[0].command(ctx, func(ctx context.Context) error {
			t.Error("it was carried out")
			return nil
		})
		if err != context.DeadlineExceeded {
			t.Errorf("got %v, want the deadline", err)
		}
		time.Sleep(20 * time.Second)
		synctest.Wait()
	})
}

// A device that acknowledges a command and is busy with it has taken it.
func TestCommandsThatTakeLonger(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake(map[place]uint16{{holding, 0}: 20})
		b := run(t, `{"devices": [{"address": "plc:502", "entities": [{"id": "number.slow", "table": "holding", "address": 0, "interval": "1h",
			"min": 0, "max": 100, "write": {"settle": "2s"}}]}]}`, f.dial)
		defer b.end()
		synctest.Wait()
		b.news()
		busy := 0
		f.mu.Lock()
		f.code = func(r request) byte {
			switch {
			case r.function == 6:
				f.values[place{holding, 0}] = uint16(r.body[3])
				return byte(acknowledge)
			case busy < 3:
				busy++
				return byte(deviceBusy)
			}
			return 0
		}
		f.mu.Unlock()
		if got := b.do("number.slow", "set_value", `{"value": 30}`); got != "" {
			t.Errorf("got the error %q, want none", got)
		}
		same(t, "said", b.news(), "number.slow=30")
		busy = -100
		if got, want := b.do("number.slow", "set_value", `{"value": 40}`), "it was written, and then: reading holding 0: the device refuses it: it is busy (exception 6)"; got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	})
}
