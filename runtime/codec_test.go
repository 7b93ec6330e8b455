package runtime_test

import (
	"encoding/json"
	"regexp"
	"strings"
	"testing"
	"time"

	"carillon/runtime"
	"carillon/runtime/runtimetest"
)

func TestMemoryJournalKeepsTheContract(t *testing.T) {
	runtimetest.TestJournal(t, &runtimetest.Journal{})
}

// What is kept is what the limits are about: text that is no UTF-8, and the two
// line separators, take more bytes than were sent.
func TestLimitsHoldForWhatIsKept(t *testing.T) {
	r := open(t, &runtimetest.Journal{}, runtime.Options{})
	grown := func(most int, unit string) json.RawMessage {
		return json.RawMessage(`{"a":"` + strings.Repeat(unit, (most-100)/len(unit)) + `"}`)
	}
	for _, unit := range []string{"\xff", "\u2028", "\xffa"} {
		_, err := r.Set(t.Context(), runtime.Change{EntityID: "sensor.big", State: "on", Attributes: grown(runtime.MaxAttributes, unit)})
		if err == nil || !strings.Contains(err.Error(), "attributes have") {
			t.Errorf("attributes of %q: got %v, want them refused as too large", unit, err)
		}
	}
	_, err := r.Fire(t.Context(), runtime.NewEvent{Type: "big", Data: grown(runtime.MaxEventData, "\xffa")})
	if err == nil || !strings.Contains(err.Error(), "data has") {
		t.Errorf("data: got %v, want it refused as too large", err)
	}
	set(t, r, runtime.Change{EntityID: "sensor.big", State: "on", Attributes: grown(runtime.MaxAttributes, "é")})
}

func TestAppendTime(t *testing.T) {
	at := time.Date(2026, 1, 1, 2, 0, 0, 123456789, time.FixedZone("", 7200))
	if got, want := string(runtime.AppendTime(nil, at)), "2026-01-01T00:00:00.123456+00:00"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func FuzzAppendTime(f *testing.F) {
	for _, nanos := range []int64{0, -1, 1, 999, 1e9 - 1, 1767225600123456789, -62135596800e9 / 10, 1 << 62, -1 << 62} {
		f.Add(nanos)
	}
	f.Fuzz(func(t *testing.T, nanos int64) {
		for _, at := range []time.Time{time.Unix(0, nanos), time.Unix(nanos, 0), time.Unix(nanos/1000, nanos)} {
			if got, want := string(runtime.AppendTime(nil, at)), at.UTC().Format("2006-01-02T15:04:05.000000-07:00"); got != want {
				t.Errorf("got %s, want %s", got, want)
			}
		}
	})
}

func BenchmarkAppendTime(b *testing.B) {
	at, text := time.Now(), make([]byte, 0, 64)
	for b.Loop() {
		text = runtime.AppendTime(text[:0], at)
	}
}

// haEntityID is Home Assistant's expression without its look-arounds.
var haEntityID = regexp.MustCompile(`^[\da-z_]+\.[\da-z_]+$`)

func FuzzValidEntityID(f *testing.F) {
	for _, s := range []string{"light.a", "light.a_b", "a.b.c", "_a.b", "a_.b", "a._b", "a.b_", "a.b__c", "", ".", "a.", "A.b", "a.é"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		domain, object, _ := strings.Cut(s, ".")
		want := len(s) <= 255 && haEntityID.MatchString(s) && !strings.Contains(s, "__")
		for _, part := range []string{domain, object} {
			want = want && !strings.HasPrefix(part, "_") && !strings.HasSuffix(part, "_")
		}
		if got := runtime.ValidEntityID(s); got != want {
			t.Errorf("%q: got %v, want %v", s, got, want)
		}
	})
}

func FuzzAppendString(f *testing.F) {
	for _, s := range []string{"", "plain", "\x00\x1f\"\\\n\r\t", "ä€😀", "\xff\xc3", "\u2028\u2029", "</script>"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		text := runtime.AppendString(nil, s)
		var got string
		if err := json.Unmarshal(text, &got); err != nil {
			t.Fatalf("%q: %v", text, err)
		}
		if want := strings.ToValidUTF8(s, "\uFFFD"); strings.Count(want, "\uFFFD") == strings.Count(got, "\uFFFD") && got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	})
}

func FuzzCanonicalObject(f *testing.F) {
	for _, s := range []string{`{}`, `{"b":1,"a":[1.0,{"z":null,"y":"<"}]}`, `{"a":1,"a":2}`, `{"a":1e400}`, ` {"ä":"\u00e4"} `, `{`, `[]`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		once, err := runtime.CanonicalObject(text)
		if err != nil {
			return
		}
		if !json.Valid(once) {
			t.Fatalf("%q became %q, which is no JSON", text, once)
		}
		twice, err := runtime.CanonicalObject(once)
		if err != nil || string(twice) != string(once) {
			t.Errorf("%q is not stable: %q (%v)", once, twice, err)
		}
	})
}
