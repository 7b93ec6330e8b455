package template

import (
	"bufio"
	"encoding/json"
	"os"
	"testing"
)

// A row is a template of real firmware with a payload of the kind that it sends.
type row struct {
	program
	From  string  `json:"from"`
	Want  *string `json:"want"`  // nil: it fails
	Error string  `json:"error"` // Jinja2's
	Kept  bool    `json:"kept"`
}

func readTable(t testing.TB) (rows []row) {
	file, err := os.Open("testdata/templates.jsonl")
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	lines := bufio.NewScanner(file)
	for lines.Scan() {
		var r row
		if err := json.Unmarshal(lines.Bytes(), &r); err != nil {
			t.Fatalf("row %d: %v", len(rows)+1, err)
		}
		whole, _ := Decode(lines.Bytes()) // its whole numbers are whole
		if vars, ok := whole.(*Dict).Get("vars"); ok {
			for name, v := range vars.(*Dict).All() {
				r.Vars[name.(string)] = v
			}
		}
		rows = append(rows, r)
	}
	if err := lines.Err(); err != nil {
		t.Fatal(err)
	}
	return rows
}

func TestFirmwareTemplates(t *testing.T) {
	rows := readTable(t)
	distinct := map[string]bool{}
	programs := make([]program, len(rows))
	for i := range rows {
		programs[i] = rows[i].program
	}
	texts, errs := renderedAt2000(t, programs)
	for i, r := range rows {
		distinct[r.Template] = true
		got, err := texts[i], errs[i]
		failure, _ := err.(*Error)
		switch {
		case r.Want == nil && err == nil:
			t.Errorf("%s: %s: got %q, want the error %s", r.From, r.Template, got, r.Error)
		case r.Want == nil:
			if failure.KeepsPayload != r.Kept {
				t.Errorf("%s: %s: got the error %v, kept %v, want %v", r.From, r.Template, err, failure.KeepsPayload, r.Kept)
			}
		case err != nil:
			t.Errorf("%s: %s: %v", r.From, r.Template, err)
		case got != *r.Want:
			t.Errorf("%s: %s: got %q, want %q", r.From, r.Template, got, *r.Want)
		}
	}
	if len(distinct) < 150 {
		t.Errorf("got %d distinct templates, want 150 or more", len(distinct))
	}
}

// TestFirmwareTemplatesInJinja holds the table itself against the real Jinja2.
func TestFirmwareTemplatesInJinja(t *testing.T) {
	rows := readTable(t)
	programs := make([]program, len(rows))
	for i := range rows {
		programs[i] = rows[i].program
	}
	for i, a := range askJinja(t, programs) {
		r := rows[i]
		if (a.Text == nil) != (r.Want == nil) || a.Text != nil && *a.Text != *r.Want || a.Kept != r.Kept {
			t.Errorf("%s: the table says %v (%s), Jinja2 %v (%s)", r.Template, r.Want, r.Error, a.Text, a.Error)
		}
	}
}
