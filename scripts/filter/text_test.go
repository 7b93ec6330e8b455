package filter

import (
	"fmt"
	"testing"

	"github.com/dop251/goja"
)

var texts = []string{
	`""`, `"a"`, `"abcabc"`, `"äöü"`, `"aäb"`, `"😀"`, `"a😀b😀"`, `"\ud83d"`, `"\ude00"`, `"x\ud83dy"`, `"\ude00\ud83d"`, `"😀\ud83d"`, `"b"`, `"😀b"`, `"\ue000\uffff"`, `"ÿĀ"`,
}

// TestTextCountsCodeUnits compares what is counted in UTF-16 with goja, for
// every text, every text in it, and every place.
func TestTextCountsCodeUnits(t *testing.T) {
	vm := goja.New()
	for _, text := range texts {
		v, _ := run(t, vm, text)
		n, _ := v.length()
		check := func(source string, got value) {
			t.Helper()
			if want, _ := run(t, vm, source); show(got) != show(want) {
				t.Errorf("%s: got %s, want %s", source, show(got), show(want))
			}
		}
		check(text+".length", numberValue(float64(n)))
		for i := range n + 2 {
			check(fmt.Sprintf("%s[%d]", text, i), v.at(i))
			for j := i; j <= n; j++ {
				check(fmt.Sprintf("%s.slice(%d,%d)", text, i, j), stringValue(slice16(v.text(), i, j)))
			}
		}
		for _, other := range texts {
			sub, _ := run(t, vm, other)
			check(text+".includes("+other+")", boolValue(contains(v.text(), sub.text())))
			check(text+".startsWith("+other+")", boolValue(hasPrefix(v.text(), sub.text())))
			check(text+".endsWith("+other+")", boolValue(hasSuffix(v.text(), sub.text())))
			for i := range n + 1 {
				check(fmt.Sprintf("%s.indexOf(%s,%d)", text, other, i), numberValue(float64(index16(v.text(), sub.text(), i))))
			}
		}
	}
}

func TestEveryUnitByItselfMakesTheTextAgain(t *testing.T) {
	vm := goja.New()
	for _, text := range texts {
		v, _ := run(t, vm, text)
		n, _ := v.length()
		got := ""
		for i := range n {
			got = concat(got, v.at(i).text())
		}
		if got != v.text() {
			t.Errorf("%s: its units together: got %+q, want %+q", text, got, v.text())
		}
	}
}
