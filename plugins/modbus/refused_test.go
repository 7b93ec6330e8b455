package main

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func TestRefusedRegister(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		values := map[place]uint16{}
		var entities []string
		for i := range 20 {
			if i != 13 {
				values[place{holding, uint16(i)}] = uint16(i)
			}
			entities = append(entities, fmt.Sprintf(`{"id": "sensor.r%d", "table": "holding", "address": %d}`, i, i))
		}
		f := newFake(values)
		b := run(t, `{"devices": [{"id": "d", "address": "d:502", "interval": "5s", "entities": [`+strings.Join(entities, ",")+`]}]}`, f.dial)
		defer b.end()
		synctest.Wait()
		got := b.news()
		if len(got) != 20 || !slices.Contains(got, "sensor.r13 away") || !slices.Contains(got, "sensor.r12=12") || !slices.Contains(got, "sensor.r14=14") {
			t.Errorf("got %q, want all but r13", got)
		}
		if ready, detail := b.Health(); !ready || detail != "sensor.r13: reading holding 13: the device refuses it: illegal data address (exception 2)" {
			t.Errorf("health: got %v, %q", ready, detail)
		}
		first := len(f.asked())
		time.Sleep(5*time.Second + time.Millisecond)
		synctest.Wait()
		if n := len(f.asked()); n >= first || n > 6 {
			t.Errorf("got %d requests to find the register, and %d in the next round; want fewer", first, n)
		}
		time.Sleep(30 * time.Minute)
		synctest.Wait()
		asked := 0
		for _, r := range f.asked() {
			if r == "1: 3 13 0001" {
				asked++
			}
		}
		if n := b.logLines("can't be read"); n != 1 || asked < 5 || asked > 12 {
			t.Errorf("within half an hour: got %d log lines and %d more tries, want 1 line and some tries", n, asked)
		}
		f.set(place{holding, 13}, 99)
		time.Sleep(lastRefusal + time.Minute)
		synctest.Wait()
		same(t, "the register is there now", b.news(), "sensor.r13=99", "sensor.r13 back")
		f.asked()
		time.Sleep(5 * time.Second)
		synctest.Wait()
		same(t, "all at once again", f.asked(), "1: 3 0 0014")
	})
}

// What is read over is given up, not what is wanted, if a device refuses it.
func TestRefusedGap(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake(map[place]uint16{{input, 0}: 1, {input, 2}: 2})
		b := run(t, `{"devices": [{"address": "d:502", "max_gap": 4, "interval": "5s", "entities": [
			{"id": "sensor.a", "table": "input", "address": 0}, {"id": "sensor.b", "table": "input", "address": 2}]}]}`, f.dial)
		defer b.end()
		synctest.Wait()
		same(t, "states", b.news(), "sensor.a=1", "sensor.b=2")
		same(t, "requests", f.asked(), "1: 4 0 0003", "1: 4 0 0001", "1: 4 2 0001")
		time.Sleep(5 * time.Second)
		synctest.Wait()
		same(t, "the next round", f.asked(), "1: 4 0 0001", "1: 4 2 0001")
	})
}

// What was split for a mood of the device is read as a whole again later.
func TestRegroup(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake(map[place]uint16{{input, 0}: 1, {input, 1}: 2, {input, 2}: 3, {input, 3}: 4})
		failures := 2
		f.code = func(request) byte {
			if failures--; failures >= 0 {
				return byte(deviceFailure)
			}
			return 0
		}
		b := run(t, `{"devices": [{"address": "d:502", "entities": [{"id": "sensor.a", "table": "input", "address": 0}, {"id": "sensor.b", "table": "input", "address": 1},
			{"id": "sensor.c", "table": "input", "address": 2}, {"id": "sensor.d", "table": "input", "address": 3}]}]}`, f.dial)
		defer b.end()
		time.Sleep(10*time.Second + time.Millisecond)
		synctest.Wait()
		same(t, "states", sorted(b.news()), "sensor.a=1", "sensor.b=2", "sensor.c=3", "sensor.d=4")
		same(t, "requests", sorted(f.asked()), "1: 4 0 0001", "1: 4 0 0001", "1: 4 0 0002", "1: 4 0 0004", "1: 4 1 0001", "1: 4 1 0001", "1: 4 2 0002", "1: 4 2 0002")
		time.Sleep(70 * time.Second)
		synctest.Wait()
		f.asked()
		time.Sleep(10 * time.Second)
		synctest.Wait()
		same(t, "a minute later", f.asked(), "1: 4 0 0004")
	})
}
