package template

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"strings"
	"testing"
	"testing/synctest"
	"time"
	_ "time/tzdata"
)

// A program is a template with what it is rendered with.
type program struct {
	Template string           `json:"template"`
	Payload  *string          `json:"payload"`
	Vars     map[string]Value `json:"vars,omitempty"`
}

// An answer is what the real Jinja2 makes of a program.
type answer struct {
	Text  *string `json:"text"`
	Error string  `json:"error"`
	Kept  bool    `json:"kept"`
}

// askJinja renders programs with the real Jinja2, in one process.
func askJinja(t *testing.T, programs []program) []answer {
	t.Helper()
	python := jinjaPython(t)
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	var in bytes.Buffer
	encoder := json.NewEncoder(&in)
	encoder.SetEscapeHTML(false)
	for _, p := range programs {
		if err := encoder.Encode(p); err != nil {
			t.Fatal(err)
		}
	}
	cmd := exec.CommandContext(ctx, python, "-I", "-W", "ignore", "testdata/oracle.py")
	cmd.Stdin = &in
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("running the oracle: %v\n%s", err, stderr.Bytes())
	}
	var answers []answer
	lines := bufio.NewScanner(bytes.NewReader(out))
	lines.Buffer(nil, 16<<20)
	for lines.Scan() {
		var a answer
		if err := json.Unmarshal(lines.Bytes(), &a); err != nil {
			t.Fatal(err)
		}
		answers = append(answers, a)
	}
	if lines.Err() != nil || len(answers) != len(programs) {
		t.Fatalf("got %d answers, want %d\n%s", len(answers), len(programs), stderr.Bytes())
	}
	return answers
}

// jinjaPython returns the Python that has Jinja2.
func jinjaPython(t *testing.T) string {
	t.Helper()
	for _, python := range []string{"/usr/bin/python3", "python3"} {
		if exec.CommandContext(t.Context(), python, "-I", "-c", "import jinja2").Run() == nil {
			return python
		}
	}
	if os.Getenv("CI") == "true" {
		t.Fatal("no Python with Jinja2: install python3-jinja2")
	}
	t.Skip("no Python with Jinja2: install python3-jinja2")
	return ""
}

// The oracle has the same time zone.
func TestMain(m *testing.M) {
	zone, err := time.LoadLocation("Europe/Berlin")
	if err != nil {
		panic(err)
	}
	time.Local = zone
	os.Exit(m.Run())
}

// renderedAt2000 renders programs at midnight of 1 January 2000 in UTC, which the oracle takes for now.
func renderedAt2000(t *testing.T, programs []program) (texts []string, errs []error) {
	t.Helper()
	texts, errs = make([]string, len(programs)), make([]error, len(programs))
	synctest.Test(t, func(*testing.T) {
		for i := range programs {
			texts[i], errs[i] = programs[i].render()
		}
	})
	return texts, errs
}

// render renders a program with this package.
func (p *program) render() (string, error) {
	tmpl, err := Parse(p.Template)
	if err != nil {
		return "", err
	}
	vars := map[string]Value{}
	for name, v := range p.Vars {
		vars[name] = v
	}
	if p.Payload != nil {
		vars["value"] = *p.Payload
		if v, ok := Decode([]byte(*p.Payload)); ok {
			vars["value_json"] = v
		}
	}
	return tmpl.Render(vars)
}

// declined reports whether an error says that this package does not do
// something, and not that a template is wrong.
func declined(err error) bool {
	for _, words := range []string{"not supported", "supports", "supported in", "more than", "deeper than", "cannot be read"} {
		if strings.Contains(err.Error(), words) {
			return true
		}
	}
	return false
}

// agrees compares what this package made of a program with what Jinja2 made.
func (p *program) agrees(t *testing.T, got string, err error, want answer) {
	t.Helper()
	payload := "none"
	if p.Payload != nil {
		payload = *p.Payload
	}
	failure, _ := err.(*Error)
	switch {
	case err != nil && declined(err):
	case strings.HasPrefix(want.Error, "TimeoutError") || strings.HasPrefix(want.Error, "MemoryError"):
	case strings.HasPrefix(want.Error, "NameError"): // Jinja2 folds nan and inf to names that it does not know
	case err == nil && want.Text == nil:
		t.Errorf("%s\npayload %s\ngot %q, Jinja2 fails: %s", p.Template, payload, got, want.Error)
	case err == nil && got != *want.Text:
		t.Errorf("%s\npayload %s\ngot %q, Jinja2 gives %q", p.Template, payload, got, *want.Text)
	case err != nil && want.Text != nil:
		t.Errorf("%s\npayload %s\ngot the error %v, Jinja2 gives %q", p.Template, payload, err, *want.Text)
	case err != nil && failure.KeepsPayload != want.Kept:
		t.Errorf("%s\npayload %s\ngot the error %v (kept %v), Jinja2 says %s (%v)", p.Template, payload,
			err, failure.KeepsPayload, want.Error, want.Kept)
	}
}
