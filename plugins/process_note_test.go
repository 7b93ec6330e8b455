package plugins

import (
	"strings"
	"testing"
)

func TestWhatAProcessSaysOfItsEnd(t *testing.T) {
	for _, test := range []struct{ printed, want string }{
		{"one\ntwo\n\n", "two"},
		{"panic: oops\n\ngoroutine 1 [running]:\nmain.main()\n\t/x/main.go:3\nError: no", "panic: oops"},
		{"node:internal/modules/cjs/loader:1148\n  throw err;\n  ^\n\nError: Cannot find module '/x/nosuch.mjs'\n    at Module._load (node:1)\n  code: 'MODULE_NOT_FOUND',\n}\n\nNode.js v20.20.2", "Error: Cannot find module '/x/nosuch.mjs'"},
		{"Traceback (most recent call last):\n  File \"x.py\", line 1\nModuleNotFoundError: No module named 'nosuch'", "ModuleNotFoundError: No module named 'nosuch'"},
		{"ValueError: first\n\nDuring handling of the above exception, another exception occurred:\n\nTypeError: second", "TypeError: second"},
		{"Error: the sensor is away, trying again\n" + strings.Repeat("reading\n", blamed) + "giving up", "giving up"},
	} {
		var p process
		for line := range strings.SplitSeq(test.printed, "\n") {
			p.note(line)
		}
		if p.said != test.want {
			t.Errorf("%q: got %q, want %q", test.printed, p.said, test.want)
		}
	}
}
