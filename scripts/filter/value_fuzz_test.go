package filter

import (
	"bytes"
	"encoding/json"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/dop251/goja"
)

// FuzzParse holds the reader of events' JSON against encoding/json: what that
// takes is read, and what is read and written again is the same value.
func FuzzParse(f *testing.F) {
	for _, seed := range []string{`{"a":[1,-0.5e3,true,null,"\u00e4\ud83d"],"a":{"1":2}}`, `[[[]]]`, `"😀"`, ` 7 `, `{"k1":1,"k2":2,"k3":3,"k4":4,"k5":5,"k6":6,"k7":7,"k8":8,"k9":9,"k1":0}`} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		var reader tree
		v, ok := reader.parse(text)
		if json.Valid(text) && bytes.Count(text, []byte("["))+bytes.Count(text, []byte("{")) <= maxNesting && !ok {
			t.Fatalf("%q: got a refusal, want a value", text)
		}
		if !ok || !json.Valid(text) {
			return
		}
		first, _ := appendJSON(nil, v)
		again, ok := new(tree).parse(first)
		second, _ := appendJSON(nil, again)
		if !ok || !bytes.Equal(first, second) {
			t.Fatalf("%q: got %s, and of that %s", text, first, second)
		}
		var want any
		if json.Unmarshal(text, &want) == nil && bytes.IndexByte(text, '\\') < 0 && !bytes.Contains(text, []byte("e")) {
			var got any
			if err := json.Unmarshal(first, &got); err != nil || !equalJSON(got, want) {
				t.Fatalf("%q: got %s", text, first)
			}
		}
	})
}

func equalJSON(a, b any) bool {
	x, _ := json.Marshal(a)
	y, _ := json.Marshal(b)
	return bytes.Equal(x, y) || strings.Contains(string(y), "-0") // JSON.stringify forgets the sign of zero
}

// FuzzNumber holds numbers and their texts against goja.
func FuzzNumber(f *testing.F) {
	for _, seed := range []float64{0, 1, -1.5, 1e21, 1e-7, 5e-324, math.MaxFloat64, 123456789.125, 1e15, 999999999999999, 4.35} {
		f.Add(seed)
	}
	vm := goja.New()
	f.Fuzz(func(t *testing.T, n float64) {
		want := vm.ToValue(n).String()
		if got := formatNumber(n); got != want {
			t.Fatalf("%b: got %s, want %s", n, got, want)
		}
		if back := parseNumber(want); back != n && n == n {
			t.Fatalf("%s: got %b back, want %b", want, back, n)
		}
	})
}

// FuzzText holds the operations on strings against the same on their code
// units.
func FuzzText(f *testing.F) {
	f.Add([]byte("a\x00\xd8\x3d"), []byte("\xde\x00"), uint8(1), uint8(2))
	f.Add([]byte("\x00a\x00b\xd8\x3d\xde\x00"), []byte("\xde\x00"), uint8(1), uint8(2))
	f.Fuzz(func(t *testing.T, x, y []byte, i, j uint8) {
		a, b := pairs(x), pairs(y)
		s, sub := fromUnits(a), fromUnits(b)
		check := func(what string, got, want any) {
			t.Helper()
			if got != want {
				t.Fatalf("%04x, %04x: %s: got %v, want %v", a, b, what, got, want)
			}
		}
		check("length", length16(s), len(a))
		check("concat", concat(s, sub), fromUnits(append(slices.Clone(a), b...)))
		check("equal", s == sub, slices.Equal(a, b))
		order := compare16(s, sub)
		check("order", [2]bool{order < 0, order > 0}, [2]bool{slices.Compare(a, b) < 0, slices.Compare(a, b) > 0})
		from := min(int(i), len(a))
		to := min(max(from, int(j)), len(a))
		check("slice", slice16(s, from, to), fromUnits(a[from:to]))
		at := -1
		for k := from; k+len(b) <= len(a) && at < 0; k++ {
			if slices.Equal(a[k:k+len(b)], b) {
				at = k
			}
		}
		check("index", index16(s, sub, from), at)
		check("prefix", hasPrefix(s, sub), len(b) <= len(a) && slices.Equal(a[:min(len(a), len(b))], b))
		check("suffix", hasSuffix(s, sub), len(b) <= len(a) && slices.Equal(a[max(0, len(a)-len(b)):], b))
	})
}

func pairs(b []byte) (units []uint16) {
	for ; len(b) >= 2; b = b[2:] {
		units = append(units, uint16(b[0])<<8|uint16(b[1]))
	}
	return units
}
