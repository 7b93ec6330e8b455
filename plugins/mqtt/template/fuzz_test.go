package template

import (
	"encoding/json"
	"strings"
	"testing"
	"unicode/utf8"
)

// FuzzTemplate parses and renders anything: it must neither panic nor exceed a
// bound, and give the same each time.
func FuzzTemplate(f *testing.F) {
	for _, r := range readTable(f) {
		payload := ""
		if r.Payload != nil {
			payload = *r.Payload
		}
		f.Add(r.Template, payload)
	}
	g := generatorOf(7)
	for range 200 {
		p := g.program()
		f.Add(p.Template, *p.Payload)
	}
	for _, text := range []string{
		"{{ '%(a)s' % () }}", "{{ 'x' * 10**9 }}", "{{ range(10**9) }}", "{{ 2**10**10 }}", "{% for i in range(9999) %}{% for j in range(9999) %}.{% endfor %}{% endfor %}",
		"{{ 'a' * 60000 |regex_findall('a.*b|a') }}", "{{ value|regex_replace('(a{30}){30}', '') }}", "{{ ((((((1)))))) }}", "{{ '%*d' % (99999, 1) }}",
		"{{ '{:>9}{!r}{{{0}}}'.format(value) }}", "{{ value|timestamp_custom(value, value, 0) }}", "{{ strptime(value, value, 0) }}", "{{ as_datetime(value).strftime(value) }}",
		"{{ (value|as_datetime + timedelta(value|float, 1e300)) * 1e300 }}", "{{ (utcnow() - timedelta(seconds=value|int)).replace(microsecond=0).isoformat() }}", "{{ value.rsplit(value, 1) }}",
	} {
		f.Add(text, "aaaa")
	}
	f.Fuzz(func(t *testing.T, text, payload string) {
		tmpl, err := Parse(text)
		if err != nil {
			failure, ok := err.(*Error)
			if !ok || failure.Line < 1 || failure.Column < 1 || !utf8.ValidString(failure.Error()) && utf8.ValidString(text) {
				t.Fatalf("got %#v, want an *Error with a place", err)
			}
			return
		}
		vars := map[string]Value{"value": payload}
		if v, ok := Decode([]byte(payload)); ok {
			vars["value_json"] = v
		}
		got, err := tmpl.Render(vars)
		if len(got) > max(maxOutput, len(text)) {
			t.Fatalf("got %d bytes of output", len(got))
		}
		if strings.Contains(text, "now") {
			return // it is another time
		}
		again, err2 := tmpl.Render(vars)
		if got != again || (err == nil) != (err2 == nil) || err != nil && err.Error() != err2.Error() {
			t.Fatalf("got %q, %v, then %q, %v", got, err, again, err2)
		}
	})
}

// FuzzDecode holds Decode against encoding/json, which is stricter in nothing
// but the depth and more lenient with lone surrogates and large numbers.
func FuzzDecode(f *testing.F) {
	for _, r := range readTable(f) {
		if r.Payload != nil {
			f.Add([]byte(*r.Payload))
		}
	}
	for _, text := range []string{`"\ud83d\ude00\u00e9\n"`, `"\ud800"`, `1e400`, `-0`, `18446744073709551615`, `{"a":1,"a":2}`, `[01]`, `{"a":}`, "\"\x01\"", `NaN`,
		strings.Repeat("[", 65) + strings.Repeat("]", 65)} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, payload []byte) {
		v, ok := Decode(payload)
		if !ok {
			return
		}
		if !json.Valid(payload) {
			t.Fatalf("%q is no JSON, got %v", payload, v)
		}
		text, err := ToJSON(v)
		if err != nil {
			if strings.Contains(err.Error(), "more than") {
				return
			}
			t.Fatal(err)
		}
		again, ok := Decode(text)
		if !ok {
			t.Fatalf("%q became %q, which is no JSON", payload, text)
		}
		if second, err := ToJSON(again); err != nil || string(second) != string(text) {
			t.Fatalf("%q became %q, then %q", payload, text, second)
		}
	})
}
