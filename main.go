// Carillon is a device-event runtime in one binary: scripts make devices, a
// journal orders their events, and live streams carry them to everyone who
// listens.
package main

import (
	"fmt"
	"io"
	"os"
)

// A command is one of the binary's verbs.
type command struct {
	name, about string
	run         func(args []string, stdout, stderr io.Writer) int // returns the exit status
}

func commands() []command {
	return []command{
		{"serve", "run a home: scripts, journal and streams", runServe},
		{"tail", "print the events of a stream as they come", runTail},
		{"plugins", "list the adapters of a running server, restart or end them", runPlugins},
		{"new", "make a new adapter to begin with", runNew},
		{"loadtest", "open many streams and check every event on each", runLoadtest},
		{"version", "print the version", runVersion},
	}
}

func main() {
	os.Exit(run(os.Args[1:], os.Stdout, os.Stderr))
}

// run returns the exit status: 0 when all went well, 1 when it did not, 2 when
// the command line is wrong.
func run(args []string, stdout, stderr io.Writer) int {
	if len(args) == 0 {
		usage(stderr)
		return 2
	}
	switch args[0] {
	case "help", "-h", "-help", "--help":
		usage(stdout)
		return 0
	case "-version", "--version":
		return runVersion(nil, stdout, stderr)
	case filterWorkerCommand:
		return runFilterWorker(os.Stdin, stdout)
	}
	for _, c := range commands() {
		if c.name == args[0] {
			return c.run(args[1:], stdout, stderr)
		}
	}
	fmt.Fprintf(stderr, "carillon: there is no command %q\n\n", args[0])
	usage(stderr)
	return 2
}

func usage(w io.Writer) {
	fmt.Fprintln(w, "Carillon runs devices and streams their events.\n\nUsage: carillon COMMAND [flags]")
	fmt.Fprintln(w)
	for _, c := range commands() {
		fmt.Fprintf(w, "  %-10s %s\n", c.name, c.about)
	}
	fmt.Fprintln(w, "\n`carillon COMMAND -h` shows a command's flags and an example.")
}
