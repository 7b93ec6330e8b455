package template

import (
	"fmt"
	"strings"
	"sync"
	"testing"
)

func mustParse(t testing.TB, text string) *Template {
	t.Helper()
	tmpl, err := Parse(text)
	if err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	return tmpl
}

func decoded(t testing.TB, text string) Value {
	t.Helper()
	v, ok := Decode([]byte(text))
	if !ok {
		t.Fatalf("%s is no JSON", text)
	}
	return v
}

// TestParseErrors holds that what is wrong or not supported is named with its place.
func TestParseErrors(t *testing.T) {
	for _, test := range []struct{ text, want string }{
		{"{{ value", "line 1, column 1: the tag has no end, }} is missing"},
		{"a\n  {{ value | random }}", "line 2, column 14: the filter random is not supported"},
		{"{{ 'ä' ~ today_at() }}", "line 1, column 10: the function today_at is not supported"},
		{"{{ now }}", "line 1, column 4: the function now is not supported as a value"},
		{"{{ value | timestamp_custom }}{{ value | relative_time }}", "line 1, column 42: the filter relative_time is not supported"},
		{"{{ '{x}'.format(x=1) }}", "line 1, column 17: the method format has no argument x"},
		{"{{ now().replace(tzinfo=none) }}", "line 1, column 18: the method replace has no argument tzinfo"},
		{"\r\n{{ states('sensor.x') }}", "line 2, column 4: the function states is not supported"},
		{"{{ states.sensor.x.state }}", "line 1, column 4: states is not supported"},
		{"{{ value is sameas(1) }}", "line 1, column 13: the test sameas is not supported"},
		{"{{ value.center(10) }}", "line 1, column 10: the method center is not supported"},
		{"{{ value.__class__ }}", "line 1, column 10: the attribute __class__ is not supported"},
		{"{% macro x() %}{% endmacro %}", `line 1, column 4: the statement "macro" is not supported`},
		{"{% raw %}{{ x }}{% endraw %}", `line 1, column 4: the statement "raw" is not supported`},
		{"{% include 'x' %}", `line 1, column 4: the statement "include" is not supported`},
		{"{% if value %}x", "line 1, column 16: {% endif %} is missing"},
		{"{% endif %}", "line 1, column 4: endif without its beginning"},
		{"{% break %}", "line 1, column 4: break outside of a loop"},
		{"{% for x in value recursive %}{% endfor %}", "line 1, column 19: recursive loops are not supported"},
		{"{# no end", "line 1, column 1: the comment has no end"},
		{"{{ value | regex_replace('(?=a)', '') }}", `line 1, column 12: regex_replace: the regular expression "(?=a)": lookarounds are not supported`},
		{`{{ value is match('(a)\\1') }}`, `line 1, column 13: match: the regular expression "(a)\\1": \1 is not supported`},
		{"{{ value | int(1, 2, 3) }}", "line 1, column 12: the filter int takes no more than 3 arguments"},
		{"{{ value | int(nonsense=1) }}", "line 1, column 16: the filter int has no argument nonsense"},
		{"{{ value | round(1, precision=2) }}", "line 1, column 21: the filter round has the argument precision twice"},
		{"{{ value | multiply }}", "line 1, column 12: the filter multiply needs the argument amount"},
		{"{{ value | map(value) }}", "line 1, column 12: a filter that is not named in the template is not supported in map"},
		{"{{ [1 }}", "line 1, column 7: unexpected '}', expected ']'"},
		{"{{ 1 ! 2 }}", "line 1, column 6: unexpected character '!'"},
		{"{{ f(*value) }}", "line 1, column 4: the function f is not supported"},
		{"{{ max(*value) }}", "line 1, column 8: * in a call is not supported"},
		{"{{ 99999999999999999999 }}", "line 1, column 4: whole numbers beyond 64 bits are not supported"},
		{"{{ }}", "line 1, column 4: unexpected }}: expected a value"},
		{strings.Repeat("x", maxText+1), "line 1, column 1: the template has 65537 bytes, 65536 is the most"},
		{"{{ '\xff' }}", "line 1, column 1: the template is not UTF-8"},
	} {
		_, err := Parse(test.text)
		if err == nil || err.Error() != test.want {
			t.Errorf("%.60s: got %v, want %s", test.text, err, test.want)
		}
	}
}

// TestRenderErrors holds what a template may do wrong, and on what Home Assistant
// goes on with the payload.
func TestRenderErrors(t *testing.T) {
	vars := map[string]Value{"value": "on", "value_json": decoded(t, `{"a":{"b":1},"l":[1],"big":18446744073709551615}`)}
	for _, test := range []struct {
		text, want string
		kept       bool
	}{
		{"{{ nothing.x }}", "line 1, column 12: 'nothing' is undefined", true},
		{"{{ value_json.x.y }}", "line 1, column 17: 'dict object' has no attribute 'x'", true},
		{"{{ value_json.a.b.c + 1 }}", "line 1, column 21: 'int object' has no attribute 'c'", true},
		{"{{ value | int }}", "line 1, column 12: int cannot read 'on', and there is no default", false},
		{"\n{{ 1 / 0 }}", "line 2, column 6: division by zero", false},
		{"{{ 'a' + 1 }}", "line 1, column 8: the operator + does not take str and int", false},
		{"{{ [1] < ['a'] }}", "line 1, column 8: int and str have no order", false},
		{"{{ 1 in 2 }}", "line 1, column 6: a value of type int holds nothing", false},
		{"{{ value_json.a.items }}", "line 1, column 1: printing a method is not supported", false},
		{"{{ value_json.l | map('string') }}", "line 1, column 1: printing a generator is not supported", false},
		{"{{ value_json.big + 1 }}", "line 1, column 19: whole numbers beyond 64 bits are not supported", false},
		{"{{ 9223372036854775807 + 1 }}", "line 1, column 24: whole numbers beyond 64 bits are not supported", false},
		{"{{ 2 ** 64 }}", "line 1, column 6: whole numbers beyond 64 bits are not supported", false},
		{"{% set a, b = [1] %}", "line 1, column 4: 1 items for 2 names", false},
		{"{% set value.x = 1 %}", "line 1, column 4: value is no namespace", true},
		{"{{ now().tzinfo }}", "line 1, column 10: tzinfo of a datetime is not supported", false},
		{"{{ [now()] }}", "line 1, column 1: printing a datetime is not supported", false},
		{"{{ now() > 5 }}", "line 1, column 10: int and datetime have no order", false},
		{"{{ utcnow() - as_datetime('2026-01-01 00:00') }}", "line 1, column 13: the operator - does not take datetime and datetime", false},
		{"{{ now() + timedelta(days=99999999) }}", "line 1, column 10: a time outside of the years 1 to 9999 is not supported", false},
		{"{{ timedelta(weeks=10**15) }}", "line 1, column 4: a timedelta of more than 292,000 years is not supported", false},
		{"{{ value | timestamp_local }}", "line 1, column 12: timestamp_local cannot read 'on', and there is no default", false},
		{"{{ value_json.x | as_timestamp }}", "line 1, column 19: as_timestamp cannot read Undefined, and there is no default", false},
		{"{{ value_json.x | as_datetime(0) }}", "line 1, column 19: 'dict object' has no attribute 'x'", true},
		{"{{ 0 | timestamp_custom('%Q') }}", "line 1, column 8: %Q is not supported in a time's format", false},
		{"{{ '1' | as_local }}", "line 1, column 10: as_local needs a datetime: it is of type str", false},
		{"{{ '{:5n}'.format(1) }}", "line 1, column 12: \"n\" is not supported in a format", false},
		{"{{ '%d' % 'x' }}", "line 1, column 9: the format %d needs a number: it is of type str", false},
	} {
		_, err := mustParse(t, test.text).Render(vars)
		failure, _ := err.(*Error)
		if err == nil || err.Error() != test.want || failure.KeepsPayload != test.kept {
			t.Errorf("%s: got %v, want %s, kept %v", test.text, err, test.want, test.kept)
		}
	}
}

// TestBounds holds that each bound ends a template that goes over it.
func TestBounds(t *testing.T) {
	long := strings.Repeat("a", 60_000)
	for _, test := range []struct{ text, want string }{
		{"{{ 'x' * 10**9 }}", "a string of more than"},
		{"{{ [1, 2] * 10**9 }}", "a list of more than"},
		{"{{ range(10**9) }}", "a range of more than"},
		{"{{ range(-9000000000000000000, 9000000000000000000, 2)|list }}", "a range of more than"},
		{"{{ (10**9)|string|int * 'ab' }}", "a string of more than"},
		{"{{ range(9999)|join('xxxxxxxxx') }}", "a string of more than"},
		{"{{ range(5000)|join(range(5000)|join) }}", "more than"},
		{"{% for i in range(9999) %}{% for j in range(9999) %}{% endfor %}{% endfor %}", "more than 50000 steps"},
		{"{% for i in range(9999) %}1234567890{% endfor %}", "more than 65536 bytes of output"},
		{"{{ value }}{{ value }}", "more than 65536 bytes of output"},
		{"{{ [value, value, value] }}", "more than"},
		{"{% set ns = namespace(l=[]) %}{% for i in range(300) %}{% set ns.l = [ns.l] %}{% endfor %}{{ ns.l }}", "values nested deeper than 100"},
		{"{% set ns = namespace(l=[1]) %}{% for i in range(99) %}{% set ns.l = [ns.l, ns.l] %}{% endfor %}{{ ns.l == ns.l }}", "more than 50000 steps"},
		{"{% set ns = namespace(l=[1]) %}{% for i in range(99) %}{% set ns.l = [ns.l, ns.l] %}{% endfor %}{{ ns.l|tojson }}", "more than"},
		{"{% set ns = namespace(l=value) %}{% for i in range(99) %}{% set ns.l = ns.l ~ ns.l %}{% endfor %}", "a string of more than"},
		{"{{ '%99999d' % 1 }}", "a string of more than"},
		{"{{ '{:99999}'.format(1) }}", "a string of more than"},
		{"{{ '{:>65000}{:>65000}'.format(1, 2) }}", "a string of more than"},
		{"{{ 0 | timestamp_custom('%c' * 9999) }}", "a string of more than"},
		{"{{ range(9)|batch(10**9, 'x') }}{{ range(9)|batch(10**9, 'x')|list }}", "a list of more than"},
		{"{{ strptime('x', '%d' * 999, 0) }}", "more than 1024 bytes"},
		{"{% for i in range(999) %}{{ strptime('x', '%d', 0) }}{% endfor %}", "more than 50000 steps"},
		{"{% set s = 'x' * 65000 %}{{ ('{0:.0}' * 60).format(s) }}", "more than 50000 steps"}, // nothing of it is left
		{"{% set f = '{0}' * 9999 %}{% for i in range(9) %}{{ f.format('') }}{% endfor %}", "more than 50000 steps"},
		{"{{ value.rsplit('a') }}", "a list of more than"},
		{"{{ '%*d' % (10**12, 1) }}", "a string of more than"},
		{"{{ '1'.zfill(10**12) }}", "a string of more than"},
		{"{{ value.replace('', value) }}", "a string of more than"},
		{"{{ value|regex_replace('a', value) }}", "supported in match and search only"},
		{`{{ 'aaa'|regex_replace('a+', '\\g<0>' * 12000) }}`, "more than"},
		{"{{ value is search('(abcdefgh){500}') }}", "is too large"},
		{"{% for i in range(99) %}{{ value is search('(a|b|c)*d$') }}{% endfor %}", "more than 50000 steps"},
		{"{{ value|list }}", "a list of more than"},
		{"{{ value.split('') if 0 else value.split('a') }}", "a list of more than"},
		{"{{ " + strings.Repeat("(", 200) + "1" + strings.Repeat(")", 200) + " }}", "nested deeper than 100"},
		{"{{ " + strings.Repeat("not ", 200) + "1 }}", "nested deeper than 100"},
		{"{{ " + strings.Repeat("-", 200) + "1 }}", "nested deeper than 100"},
		{strings.Repeat("{% if 1 %}", 200) + strings.Repeat("{% endif %}", 200), "nested deeper than 100"},
		{"{{ 1" + strings.Repeat(" + 1", 2000) + " }}", "more than 500 operators in a row"},
		{"{{ 1" + strings.Repeat("|int", 2000) + " }}", "more than 500 operators in a row"},
		{"{{ value" + strings.Repeat(".a", 2000) + " }}", "more than 500 operators in a row"},
	} {
		tmpl, err := Parse(test.text)
		if err == nil {
			_, err = tmpl.Render(map[string]Value{"value": long})
		}
		if err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%.80s: got %.200v, want %s", test.text, err, test.want)
		}
	}
}

func TestUses(t *testing.T) {
	tmpl := mustParse(t, "{% set x = value_json.a %}{{ x ~ 'value' ~ {'this': entity_id} }}")
	for name, want := range map[string]bool{"value_json": true, "entity_id": true, "x": true, "value": false, "this": false, "a": false} {
		if got := tmpl.Uses(name); got != want {
			t.Errorf("%s: got %v, want %v", name, got, want)
		}
	}
}

func TestPlainText(t *testing.T) {
	got, err := mustParse(t, "  {\"event_type\": \"tip\"} \r\n").Render(nil)
	if want := `{"event_type": "tip"}`; got != want || err != nil {
		t.Errorf("got %q, %v, want %q", got, err, want)
	}
}

// TestAtOnce renders one template from several goroutines.
func TestAtOnce(t *testing.T) {
	tmpl := mustParse(t, "{% set ns = namespace(n=0) %}{% for i in range(value_json.n) %}{% set ns.n = ns.n + i %}{% endfor %}{{ ns.n }} {{ ('a%d' % value_json.n)|regex_replace('a(' ~ '[0-9]+)', '<\\\\1>') }}")
	var group sync.WaitGroup
	for i := range 8 {
		group.Go(func() {
			v := decoded(t, fmt.Sprintf(`{"n":%d}`, i))
			want := fmt.Sprintf("%d <%d>", i*(i-1)/2, i)
			for range 100 {
				if got, err := tmpl.Render(map[string]Value{"value_json": v}); got != want || err != nil {
					t.Errorf("got %q, %v, want %q", got, err, want)
					return
				}
			}
		})
	}
	group.Wait()
}

func TestDecode(t *testing.T) {
	for _, test := range []struct{ text, want string }{
		{`{"b":1,"a":[1.0,1e2,-0,true,null,"x"],"b":2}`, `{'b': 2, 'a': [1.0, 100.0, 0, True, None, 'x']}`},
		{`18446744073709551615`, `18446744073709551615`},
		{`18446744073709551616`, `1.8446744073709552e+19`},
		{`-9223372036854775808`, `-9223372036854775808`},
		{`-9223372036854775809`, `-9.223372036854776e+18`},
		{`"\ud83d\ude00\u00e9\/"`, `'😀é/'`},
		{" \t\r\n{} ", "{}"},
		{"[1e15,1e16,0.0001,0.00001,-0.0]", "[1000000000000000.0, 1e+16, 0.0001, 1e-05, -0.0]"},
	} {
		got, err := mustParse(t, "{{ [value_json] }}").Render(map[string]Value{"value_json": decoded(t, test.text)})
		if want := "[" + test.want + "]"; got != want || err != nil {
			t.Errorf("%s: got %q, %v, want %q", test.text, got, err, want)
		}
	}
	for _, text := range []string{"", "NaN", "Infinity", "1e400", "01", "1.", ".5", "+1", "-", "[1,]", `{"a":1,}`, `{a:1}`, `'a'`, `"\ud800"`, `"\x41"`, "\"\n\"", "tru", "1 2", "\xff", "\ufeff1",
		strings.Repeat("[", 65) + strings.Repeat("]", 65), strings.Repeat(`{"a":`, 65) + "1" + strings.Repeat("}", 65)} {
		if v, ok := Decode([]byte(text)); ok {
			t.Errorf("%q: got %v, want no JSON", text, v)
		}
	}
	if _, ok := Decode([]byte(strings.Repeat("[", 64) + strings.Repeat("]", 64))); !ok {
		t.Error("64 lists: got no JSON")
	}
}

func TestToJSON(t *testing.T) {
	v := decoded(t, `{"é":[1, 2.0, 1e-5, 1e-7, 1e15, 1e16, 123456789012345.6, true, null],"a":"<'\u0001\"","o":{}}`)
	got, err := ToJSON(v)
	if want := `{"é":[1,2.0,0.00001,1e-7,1000000000000000.0,1e16,123456789012345.6,true,null],"a":"<'\u0001\"","o":{}}`; string(got) != want || err != nil {
		t.Errorf("got %s, %v, want %s", got, err, want)
	}
	if _, err := ToJSON(Undefined{}); err == nil {
		t.Error("undefined: got no error")
	}
}

func TestDict(t *testing.T) {
	var text strings.Builder
	for i := range 100 {
		fmt.Fprintf(&text, `,"key%d":%d`, i, i)
	}
	d := decoded(t, "{"+text.String()[1:]+`,"key7":"again"}`).(*Dict)
	if d.Len() != 100 {
		t.Errorf("got %d keys, want 100", d.Len())
	}
	if v, ok := d.Get("key7"); v != "again" || !ok {
		t.Errorf("got %v, %v, want again", v, ok)
	}
	if _, ok := d.Get("key"); ok {
		t.Error("got a key that is not there")
	}
	i := 0
	for key := range d.All() {
		if want := fmt.Sprintf("key%d", i); key != want {
			t.Fatalf("got %v, want %s", key, want)
		}
		i++
	}
}
