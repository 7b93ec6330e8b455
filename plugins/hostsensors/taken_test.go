package main

import (
	"slices"
	"strings"
	"testing"
	"time"
)

// A sensor whose id a script has is left out and named; the others are there, and it is
// there too when the script has gone.
func TestTakenID(t *testing.T) {
	round, home := startScripted(t)
	names := []string{"load", "memory", "swap"}
	for i, step := range []struct {
		after time.Duration
		taken []string
		names []string
		want  string
		named string // in the adapter's health
	}{
		{0, []string{"load", "swap"}, names, "memory=1", "load swap"},
		{time.Second, []string{"swap"}, names, "memory=1", "load swap"}, // not asked for again yet
		{tryTaken, []string{"swap"}, names, "load=1 memory=1", "swap"},
		{time.Second, []string{"swap"}, append(names, "disk"), "disk=1 load=1 memory=1", "swap"},
		{time.Second, []string{"swap"}, names, "disk=unavailable load=1 memory=1", "swap"},
		{tryTaken, nil, names, "disk=unavailable load=1 memory=1 swap=1", ""},
		{time.Second, []string{"swap"}, names, "disk=unavailable load=1 memory=1 swap=1", ""}, // it is ours: nothing is declared
	} {
		var ids []string
		for _, name := range step.taken {
			ids = append(ids, "sensor.machine_"+name)
		}
		home.Taken(ids...)
		round(step.after, nil, step.names...)
		if got := states(home); got != step.want {
			t.Fatalf("step %d: got %s, want %s", i, got, step.want)
		}
		_, detail := home.Ready()
		for _, name := range names {
			if got, want := strings.Contains(detail, "sensor.machine_"+name+" belongs to"), slices.Contains(strings.Fields(step.named), name); got != want {
				t.Errorf("step %d: that %s is named in %q is %v, want %v", i, name, detail, got, want)
			}
		}
	}
	left := func() (n int) {
		for _, line := range home.Logs() {
			if strings.Contains(line, "left out until") {
				n++
			}
		}
		return n
	}
	home.Until("lines for what is left out", func() bool { return left() >= 2 })
	if n := left(); n != 2 {
		t.Errorf("got %d lines for what is left out, want one for each of 2\n%s", n, strings.Join(home.Logs(), "\n"))
	}
}
