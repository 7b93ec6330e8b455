package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"text/tabwriter"
	"time"
	"unicode"

	"carillon/plugins"
)

// discover lets an adapter look for devices, and prints what it found.
func (c *pluginsCommand) discover(ctx context.Context, name string) error {
	request, err := json.Marshal(map[string]float64{"timeout": c.timeout.Seconds()})
	if err != nil {
		return err
	}
	body, err := c.ask(ctx, http.MethodPost, request, "api", "plugins", url.PathEscape(name), "discover")
	if err != nil {
		return err
	}
	if c.json {
		fmt.Fprintf(c.stdout, "%s\n", strings.TrimSpace(string(body)))
		return nil
	}
	var found plugins.Discovery
	if err := json.Unmarshal(body, &found); err != nil {
		return fmt.Errorf("reading the server's answer: %w", err)
	}
	return writeDiscovery(c.stdout, name, &found, c.timeout)
}

// writeDiscovery writes what was found for people: a table, and what to put into the
// configuration for each.
func writeDiscovery(w io.Writer, name string, found *plugins.Discovery, limit time.Duration) error {
	if len(found.Devices) > 0 {
		t := tabwriter.NewWriter(w, 0, 8, 2, ' ', 0)
		fmt.Fprintln(t, "DEVICE\tTITLE")
		for _, d := range found.Devices {
			fmt.Fprintf(t, "%s\t%s\n", printable(d.ID), firstOf(printable(d.Title), "-"))
		}
		if err := t.Flush(); err != nil {
			return err
		}
		fmt.Fprintf(w, "\nFor carillon.yaml, below the config of plugins.%s, as its documentation says:\n", name)
	}
	for _, d := range found.Devices {
		if _, err := fmt.Fprintf(w, "\n# %s\nplugins:\n  %q:\n    config: %s\n", printable(d.ID+" "+d.Title), name, escaped(d.Config)); err != nil {
			return err
		}
	}
	var err error
	switch {
	case found.LeftOut > 0:
		_, err = fmt.Fprintf(w, "\n%d more were left out: the adapter tells too much, or what is no device.\n", found.LeftOut)
	case !found.Complete:
		_, err = fmt.Fprintf(w, "\nThe adapter was still looking when its %v were over: -timeout gives it more.\n", limit)
	case len(found.Devices) == 0:
		_, err = fmt.Fprintln(w, "The adapter has looked everywhere, and found nothing.")
	}
	return err
}

// printable returns s without what a terminal would obey: devices name themselves.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return '\uFFFD'
		}
		return r
	}, strings.TrimSpace(s))
}

// escaped returns JSON as YAML has it, without what a terminal would obey.
func escaped(text []byte) string {
	var b strings.Builder
	for _, r := range string(text) {
		if unicode.IsPrint(r) {
			b.WriteRune(r)
		} else {
			fmt.Fprintf(&b, `\U%08x`, r)
		}
	}
	return b.String()
}
