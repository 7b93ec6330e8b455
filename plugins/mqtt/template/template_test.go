package template

import "testing"

func TestFirst(t *testing.T) {
	v, ok := Decode([]byte(`{"temperature":21.5,"a":{"b":[1,2,{"c":null}]},"Color":"10,20,30,40","s":"x"}`))
	if !ok {
		t.Fatal("no JSON")
	}
	for _, test := range [][2]string{
		{"{{ value_json.temperature }}", "21.5"},
		{" {{ value_json['a'].b[2] }} ", "{'c': None}"},
		{"{{ value_json.Color.split(',')[0:3]|join(',') }}", "10,20,30"},
		{"{{ value_json.missing }}", ""},
		{"{% for k, v in value_json.items() if v %}{{ loop.index }}{{k}}{% endfor %}", "1temperature2a3Color4s"},
		{"{{ -7 // 2 }} {{ -7 % 3 }} {{ 2**10 }} {{ 7 / 2 }} {{ 1e16 }}", "-4 2 1024 3.5 1e+16"},
		{"{% set values = {None:None,'x':'heat'} %}{{ values[value_json.s] }}", "heat"},
	} {
		tmpl, err := Parse(test[0])
		if err != nil {
			t.Errorf("%s: %v", test[0], err)
			continue
		}
		got, err := tmpl.Render(map[string]Value{"value_json": v})
		if err != nil || got != test[1] {
			t.Errorf("%s: got %q, %v, want %q", test[0], got, err, test[1])
		}
	}
}
