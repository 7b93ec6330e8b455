package broadcast

import (
	"fmt"
	"math/rand/v2"
	"regexp"
	"slices"
	"strings"
	"testing"
)

func TestMatchName(t *testing.T) {
	tests := []struct {
		pattern, name string
		want          bool
	}{
		{"light.hall", "light.hall", true}, {"light.hall", "light.hal", false}, {"light.hal", "light.hall", false},
		{"light.*", "light.", true}, {"light.*", "light.hall", true}, {"light.*", "lights.hall", false},
		{"*.hall", "light.hall", true}, {"*.hall", "light.hall_2", false}, {"*a*b*", "xaxbx", true}, {"*a*b*", "xbxax", false},
		{"a*a", "a", false}, {"a*a", "aa", true}, {"", "", true}, {"", "a", false}, {"*", "", true}, {"a**b", "ab", true},
		{"?", "a", false}, {"[a]", "a", false}, {"l.x", "lax", false},
	}
	for _, tt := range tests {
		if got := matchName(tt.pattern, tt.name); got != tt.want {
			t.Errorf("matchName(%q, %q): got %v, want %v", tt.pattern, tt.name, got, tt.want)
		}
	}
}

func FuzzMatchName(f *testing.F) {
	f.Add("a*b*", "axxbxx")
	f.Add("*a*", "bab")
	f.Fuzz(func(t *testing.T, pattern, name string) {
		parts := strings.Split(pattern, "*")
		for i, part := range parts {
			parts[i] = regexp.QuoteMeta(part)
		}
		re, err := regexp.Compile(`(?s)\A` + strings.Join(parts, ".*") + `\z`)
		if err != nil || !valid(pattern) || !valid(name) {
			t.Skip() // a regexp works on runes
		}
		if got, want := matchName(pattern, name), re.MatchString(name); got != want {
			t.Errorf("matchName(%q, %q): got %v, want %v", pattern, name, got, want)
		}
	})
}

func valid(s string) bool { return strings.ToValidUTF8(s, "") == s }

func TestCanonicalSelection(t *testing.T) {
	a := Selection{Types: []string{"b", "a", "b"}, Domains: []string{"x", "*"}, Entities: []string{"l.**"}}.canonical()
	b := Selection{Types: []string{"a", "b"}, Entities: []string{"l.*"}}.canonical()
	if a.key() != b.key() {
		t.Errorf("got keys %v and %v, want the same", a.key(), b.key())
	}
	c := Selection{Types: []string{"a b"}}.canonical()
	d := Selection{Types: []string{"a", "b"}}.canonical()
	e := Selection{Domains: []string{"a b"}}.canonical()
	if c.key() == d.key() || c.key() == e.key() {
		t.Errorf("got keys %v, %v, %v, want three", c.key(), d.key(), e.key())
	}
	if all := (Selection{Domains: []string{"**"}}).canonical(); !all.all() {
		t.Errorf("got %+v, want everything", all)
	}
}

// The index finds the very feeds that a look at each would, each once.
func TestFeedIndexFindsWhatAScanFinds(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	pick := func(from ...string) []string {
		var names []string
		for range rnd.IntN(3) {
			names = append(names, from[rnd.IntN(len(from))])
		}
		return names
	}
	var index feedIndex
	feeds := make(map[*feed]bool)
	for range 400 {
		sel := Selection{
			Types:    pick("state_changed", "service_called", "s*", "*d"),
			Domains:  pick("light", "lock", "l*", "sensor"),
			Entities: pick("light.room_1", "light.*", "*.room_2", "lock.room_3", "sensor.r*"),
		}.canonical()
		f := &feed{sel: sel}
		feeds[f] = true
		index.add(f)
	}
	for round := range 3 {
		for i := range 60 {
			ev := mixed(uint64(i))
			if i%10 == 0 {
				ev.EntityID, ev.Domain = "", ""
			}
			var want []string
			for f := range feeds {
				if f.sel.matches(&ev) {
					want = append(want, fmt.Sprintf("%p", f))
				}
			}
			var got []string
			for _, f := range index.match(nil, &ev) {
				got = append(got, fmt.Sprintf("%p", f))
			}
			slices.Sort(want)
			slices.Sort(got)
			if !slices.Equal(got, want) {
				t.Fatalf("round %d, event %+v: got %d feeds, want %d", round, ev, len(got), len(want))
			}
		}
		for f := range feeds {
			if rnd.IntN(2) == 0 {
				index.remove(f)
				delete(feeds, f)
			}
		}
	}
}
