package loadtest

import (
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"testing"
)

var digitsOf = regexp.MustCompile(`\d+`)

// keysOf returns the numbers in a filter, which are the keys it takes.
func keysOf(filter string) (keys []int64) {
	for _, text := range digitsOf.FindAllString(filter, -1) {
		key, _ := strconv.ParseInt(text, 10, 64)
		keys = append(keys, key)
	}
	return keys
}

// The arithmetic must say what plain looking at the filters' texts does.
func TestSpread(t *testing.T) {
	const last = 700
	for _, n := range []int{1, 2, 3, 9, 10, 11, 37, 100, 650} {
		s := newSpread(n)
		texts, taken := map[string]bool{}, 0
		for number := range int64(n) {
			text := s.filter(number)
			texts[text] = true
			keys := keysOf(text)
			if len(keys) != 2 {
				t.Fatalf("%s: got keys %v, want two", text, keys)
			}
			take := &taking{*s, number}
			next := int64(0)
			count := int64(0)
			for i := int64(last); i > 0; i-- {
				wants := slices.Contains(keys, s.key(i))
				if wants {
					next = i
					count++
					taken++
				}
				if got := take.takes(i); got != wants {
					t.Fatalf("%d filters, %s: takes(%d): got %v, want %v", n, text, i, got, wants)
				}
				if got := take.from(i); got != next && (next != 0 || got <= last) {
					t.Fatalf("%d filters, %s: from(%d): got %d, want %d", n, text, i, got, next)
				}
				if got := take.count(i, last); got != count {
					t.Fatalf("%d filters, %s: count(%d, %d): got %d, want %d", n, text, i, last, got, count)
				}
			}
			if take.count(8, 7) != 0 {
				t.Errorf("%s: got events in an empty range", text)
			}
		}
		if len(texts) != n {
			t.Errorf("%d filters: got %d texts, want them distinct", n, len(texts))
		}
		// One filter for nine in ten, those of a group for the tenth: with one
		// filter, or one to a group, every event is for just one.
		perShared := float64(n) / float64(s.groups)
		if want := last*0.9 + last*0.1*perShared; float64(taken) < want*0.9 || float64(taken) > want*1.1 {
			t.Errorf("%d filters: got %d deliveries, want about %v", n, taken, want)
		}
	}
	if all := (*taking)(nil); all.from(7) != 7 || !all.takes(7) || all.count(3, 5) != 3 || (*spread)(nil).key(3) != 0 || newSpread(0) != nil {
		t.Error("without filters not all is taken")
	}
}

func TestSpreadQuery(t *testing.T) {
	q, err := url.ParseQuery(newSpread(20).query(4))
	if err != nil || q.Get("filter") != "e => [5, 25].includes(e.data.k)" {
		t.Errorf("got %v, %v", q, err)
	}
}

func TestSpreadText(t *testing.T) {
	for n, want := range map[int]string{
		1: "1 distinct filter, 10 k streams each, as e => e.data.k === 1 || e.data.k === 2; it takes all events",
		1000: "1,000 distinct filters, 10 streams each, as e => e.data.k === 1 || e.data.k === 1001; " +
			"9 of 10 events are for one of them, the others for 100",
		10_000: "10,000 distinct filters, 1 stream each, as e => e.data.k === 1 || e.data.k === 10001; " +
			"9 of 10 events are for one of them, the others for 1000",
	} {
		if got := newSpread(n).text(10_000); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}
