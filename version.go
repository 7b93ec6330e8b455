package main

import (
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

func runVersion(args []string, stdout, stderr io.Writer) int {
	flags := flag.NewFlagSet("version", flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.Usage = func() {
		fmt.Fprintln(stderr, "Usage: carillon version\n\nPrints the version, the Go release and the system it was built for.\n\nExample:\n  carillon version")
	}
	if err := flags.Parse(args); err != nil {
		return exitOf(err)
	}
	fmt.Fprintf(stdout, "carillon %s %s %s/%s\n", versionName(), goruntime.Version(), goruntime.GOOS, goruntime.GOARCH)
	return 0
}

// exitOf turns a flag error, which flag has printed, into an exit status.
func exitOf(err error) int {
	if err == flag.ErrHelp {
		return 0
	}
	return 2
}
