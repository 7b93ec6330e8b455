package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
)

// parseFlags reads a command's flags, wherever they stand, and returns the other words. On
// -h it prints the usage to stdout, and the error is flag.ErrHelp; other errors name the
// command's help.
func parseFlags(fs *flag.FlagSet, usage string, args []string, stdout io.Writer) (words []string, err error) {
	fs.SetOutput(io.Discard) // flag would print the mistake and the whole usage
	fs.Usage = func() {}
	for len(args) > 0 {
		err := fs.Parse(args)
		switch {
		case errors.Is(err, flag.ErrHelp):
			fs.SetOutput(stdout)
			fmt.Fprint(stdout, usage)
			fs.PrintDefaults()
			return nil, err
		case err != nil:
			return nil, fmt.Errorf("%w (`carillon %s -h` shows the flags)", err, fs.Name())
		}
		read := len(args) - fs.NArg()
		if read > 0 && args[read-1] == "--" { // the rest are words
			return append(words, fs.Args()...), nil
		}
		if args = fs.Args(); len(args) > 0 {
			words, args = append(words, args[0]), args[1:]
		}
	}
	return words, nil
}
