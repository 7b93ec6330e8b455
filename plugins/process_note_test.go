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
		{"node:internal/errors:540\n      throw error;\n      ^\n\nTypeError [ERR_INVALID_ARG_TYPE]: The \"path\" argument must be of type string\n    at x (node:fs:1)\n  code: 'ERR_INVALID_ARG_TYPE'\n}\n\nNode.js v20.20.2", "TypeError [ERR_INVALID_ARG_TYPE]: The \"path\" argument must be of type string"},
		{"Error: the sensor is away, trying again\n    at poll\ngiving up", "giving up"},
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
