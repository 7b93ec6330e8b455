package template

import "testing"

const benchPayload = `{"battery":93.5,"humidity":61.07,"linkquality":134,"pressure":1013.2,"state":"ON","temperature":21.07,"update":{"installed_version":16777303,"state":"available"},"voltage":3025}`

// TestFieldAllocates holds how few allocations the usual template costs.
func TestFieldAllocates(t *testing.T) {
	tmpl := mustParse(t, "{{ value_json.temperature }}")
	vars := map[string]Value{"value_json": decoded(t, benchPayload)}
	got := testing.AllocsPerRun(100, func() {
		if _, err := tmpl.Render(vars); err != nil {
			t.Fatal(err)
		}
	})
	if got > 2 {
		t.Errorf("got %v allocations, want 2 at most", got)
	}
}

func BenchmarkRender(b *testing.B) {
	for _, bench := range []struct{ name, text string }{
		{"field", "{{ value_json.temperature }}"},
		{"round", "{{ (value_json.temperature | float * 9 / 5 + 32) | round(1) }}"},
		{"if", "{% if value_json.state == 'ON' %}on{% else %}off{% endif %}"},
		{"lookup", "{% set values = {None:None,'idle':'idle','heat':'heating'} %}{{ values[value_json.state] }}"},
	} {
		b.Run(bench.name, func(b *testing.B) {
			tmpl := mustParse(b, bench.text)
			vars := map[string]Value{"value_json": decoded(b, benchPayload)}
			b.ReportAllocs()
			for b.Loop() {
				if _, err := tmpl.Render(vars); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkEventTemplate(b *testing.B) {
	for _, r := range readTable(b) {
		if r.From != "zigbee2mqtt event" {
			continue
		}
		tmpl := mustParse(b, r.Template)
		vars := map[string]Value{"value_json": decoded(b, `{"action":"button_1_hold_release"}`)}
		b.ReportAllocs()
		for b.Loop() {
			if _, err := tmpl.Render(vars); err != nil {
				b.Fatal(err)
			}
		}
		return
	}
}

func BenchmarkDecode(b *testing.B) {
	b.ReportAllocs()
	payload := []byte(benchPayload)
	for b.Loop() {
		if _, ok := Decode(payload); !ok {
			b.Fatal("no JSON")
		}
	}
}

func BenchmarkParse(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		if _, err := Parse("{{ value_json.temperature | round(1) }}"); err != nil {
			b.Fatal(err)
		}
	}
}
