package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	goruntime "runtime"
	"runtime/debug"
)

// version is what this binary calls itself. Release builds set it with
// -ldflags "-X main.version=v1.2.3"; others say what the module knows.
var version = ""

func versionName() string {
	if version != "" {
		return version
	}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "devel"
	}
	for _, s := range info.Settings {
		if s.Key == "vcs.revision" && len(s.Value) >= 12 {
			return "devel-" + s.Value[:12]
		}
	}
	return "devel"
}

const versionUsage = `Usage: carillon version

Prints the version, the Go release and the system it was built for.

Example:
  carillon version
`

func runVersion(args []string, stdout, stderr io.Writer) int {
	words, err := parseFlags(flag.NewFlagSet("version", flag.ContinueOnError), versionUsage, args, stdout)
	if errors.Is(err, flag.ErrHelp) {
		return 0
	}
	if err == nil && len(words) > 0 {
		err = fmt.Errorf("%q is one word too many", words[0])
	}
	if err != nil {
		fmt.Fprintln(stderr, "carillon version:", err)
		return 2
	}
	fmt.Fprintf(stdout, "carillon %s %s %s/%s\n", versionName(), goruntime.Version(), goruntime.GOOS, goruntime.GOARCH)
	return 0
}
