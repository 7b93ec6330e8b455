package filter

import (
	"encoding/json"
	"fmt"
	"math"
	"testing"

	"github.com/dop251/goja"
)

// samples are JavaScript expressions whose values are compared with goja's.
var samples = []string{
	`undefined`, `null`, `true`, `false`, `0`, `-0`, `1`, `-1`, `1.5`, `NaN`, `Infinity`, `-Infinity`, `255`, `16`,
	`1e21`, `1e-7`, `123456789012345680000`, `0.000001`, `5e-324`, `1.7976931348623157e308`, `4294967295`, `0.1`, `-1e-7`, `1e20`, `100`,
	`""`, `" "`, `"1"`, `"01"`, `"1.50"`, `" 1\n"`, `"0x10"`, `"0b11"`, `"0o17"`, `"0xfg"`, `"-0x10"`, `"1e3"`, `"1_0"`, `"."`, `"5."`,
	`".5"`, `"+1"`, `"-"`, `"Infinity"`, `"-Infinity"`, `"infinity"`, `"inf"`, `"NaN"`, `"nan"`, `"true"`, `"null"`, `"undefined"`, `"1e"`, `"1.0"`,
	`"a"`, `"b"`, `"B"`, `"é"`, `"ﬀ"`, `"😀"`, `"😁"`, `"a😀"`, `"\ud83d"`, `"\ude00"`, `"\ud83dx"`, `"\ue000"`, `"\u2028"`,
	`"\u00a0 7 \ufeff"`, `"\u180e7"`, `"[object Object]"`, `"1,2"`, `","`, `"0x1fffffffffffff"`, `"0x20000000000001"`, `"0x40000000000003"`, `"1e1000"`, `"-1e1000"`,
	`[]`, `[1]`, `[1,2]`, `["a"]`, `[null]`, `[null,null]`, `[[1],[2,[3]]]`, `[{}]`, `({})`, `({a:1})`, `({toString:1})`, `[{toString:1}]`, `({valueOf:1})`,
}

// gojaDiffers are comparisons that goja gets wrong, with what ECMA-262 says.
var gojaDiffers = map[string]bool{
	`"1.0"==1`: true, `1=="1.0"`: true, `"1.0"==true`: true, `true=="1.0"`: true, "false==\"\\u2028\"": true, "\"\\u2028\"==false": true,
	"0==\"\\u2028\"": true, "-0==\"\\u2028\"": true, "\"\\u2028\"==0": true, "\"\\u2028\"==-0": true,
}

// valueOf converts a value of goja's, by way of JSON where it is a container.
func valueOf(t *testing.T, vm *goja.Runtime, v goja.Value) value {
	switch x := v.(type) {
	case goja.String:
		var u []uint16
		for i := range x.Length() {
			u = append(u, x.CharAt(i))
		}
		return stringValue(fromUnits(u))
	case *goja.Object:
		text, err := json.Marshal(x)
		if err != nil {
			t.Fatal(err)
		}
		got, ok := new(tree).parse(text)
		if !ok {
			t.Fatalf("parsing %s failed", text)
		}
		return got
	}
	switch x := v.Export().(type) {
	case nil:
		if goja.IsUndefined(v) {
			return value{}
		}
		return value{kind: null}
	case bool:
		return boolValue(x)
	case int64:
		return numberValue(float64(x))
	case float64:
		return numberValue(x)
	}
	t.Fatalf("no value for %v", v)
	return value{}
}

// show writes a value so that different ones differ.
func show(v value) string {
	switch v.kind {
	case number:
		if v.num() == 0 && math.Signbit(v.num()) {
			return "-0"
		}
		return formatNumber(v.num())
	case str:
		return fmt.Sprintf("%+q", v.text())
	}
	text, ok := appendJSON(nil, v)
	if !ok {
		return "undefined"
	}
	return string(text)
}

func run(t *testing.T, vm *goja.Runtime, source string) (got value, thrown bool) {
	t.Helper()
	v, err := vm.RunString(source)
	if err != nil {
		return value{}, true
	}
	return valueOf(t, vm, v), false
}

func TestUnaryOperations(t *testing.T) {
	vm := goja.New()
	for _, sample := range samples {
		v, _ := run(t, vm, sample)
		check := func(operation string, got value, ok bool) {
			t.Helper()
			want, thrown := run(t, vm, fmt.Sprintf(operation, sample))
			if thrown != !ok || !thrown && show(got) != show(want) {
				t.Errorf(operation+": got %s (ok %v), want %s (throws %v)", sample, show(got), ok, show(want), thrown)
			}
		}
		check("!!%s", boolValue(v.truthy()), true)
		check("typeof %s", stringValue(v.typeOf()), true)
		s, ok := v.toString()
		check("String(%s)", stringValue(s), ok)
		f, ok := v.toNumber()
		check("Number(%s)", numberValue(f), ok)
		text, ok := appendJSON(nil, v)
		if ok {
			check("JSON.stringify(%s)", stringValue(string(text)), true)
		}
	}
}

func TestBinaryOperations(t *testing.T) {
	vm := goja.New()
	for _, left := range samples {
		for _, right := range samples {
			a, _ := run(t, vm, left)
			b, _ := run(t, vm, right)
			check := func(operator string, got, ok bool) {
				t.Helper()
				source := left + operator + right
				want, thrown := run(t, vm, source)
				if right, differs := gojaDiffers[source]; differs {
					want = boolValue(right)
				}
				if thrown != !ok || !thrown && got != want.truthy() {
					t.Errorf("%s: got %v (ok %v), want %v (throws %v)", source, got, ok, want.truthy(), thrown)
				}
			}
			if !a.container() || !b.container() { // each evaluation makes another
				check("===", strictEqual(a, b), true)
				equal, ok := looseEqual(a, b)
				check("==", equal, ok)
			}
			order, ok := compare(a, b)
			check("<", order == below, ok)
			check("<=", order == below || order == equal, ok)
			check(">", order == above, ok)
			check(">=", order == above || order == equal, ok)
			if a.kind == str && b.kind == str {
				want, _ := run(t, vm, left+"+"+right)
				if got := concat(a.text(), b.text()); got != want.text() {
					t.Errorf("%s+%s: got %+q, want %+q", left, right, got, want.text())
				}
			}
		}
	}
}
