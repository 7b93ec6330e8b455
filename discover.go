package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"reflect"
	"slices"
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
// configuration.
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
		if err := writeSuggestions(w, name, found.Devices); err != nil {
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

// writeSuggestions writes what carillon.yaml may have for the devices: in one piece, if what the
// adapter suggests for each goes together.
func writeSuggestions(w io.Writer, name string, devices []plugins.Discovered) error {
	where := fmt.Sprintf("\nWhere it has plugins: or plugins.%s already, what stands below that here goes below that there.\n", name)
	all, together := mergeSuggestions(devices)
	var b strings.Builder
	if together {
		b.WriteString("\nFor carillon.yaml, all in one piece, as the adapter's documentation says:\n\n")
		for _, d := range devices {
			fmt.Fprintf(&b, "# %s\n", printable(d.ID+" "+d.Title))
		}
		writeSuggestion(&b, name, all)
	} else {
		b.WriteString("\nFor carillon.yaml, one of these, as the adapter's documentation says: they say different things, and don't go together.\n")
		for _, d := range devices {
			fmt.Fprintf(&b, "\n# %s\n", printable(d.ID+" "+d.Title))
			one, _ := mergeSuggestions([]plugins.Discovered{d})
			writeSuggestion(&b, name, one)
		}
	}
	_, err := io.WriteString(w, b.String()+where)
	return err
}

// writeSuggestion writes an adapter's configuration: a line for each key, and for each item of its lists.
func writeSuggestion(b *strings.Builder, name string, config map[string]any) {
	fmt.Fprintf(b, "plugins:\n  %q:\n    config:", name)
	if len(config) == 0 {
		b.WriteString(" {}")
	}
	b.WriteByte('\n')
	for _, key := range slices.Sorted(maps.Keys(config)) {
		list, ok := config[key].([]any)
		if !ok || len(list) == 0 {
			fmt.Fprintf(b, "      %s: %s\n", escaped(key), escaped(config[key]))
			continue
		}
		fmt.Fprintf(b, "      %s:\n", escaped(key))
		for _, item := range list {
			fmt.Fprintf(b, "        - %s\n", escaped(item))
		}
	}
}

// mergeSuggestions makes one configuration of those of devices, and reports whether they go together.
func mergeSuggestions(devices []plugins.Discovered) (all map[string]any, together bool) {
	all = map[string]any{}
	for _, d := range devices {
		var one map[string]any
		decoder := json.NewDecoder(bytes.NewReader(d.Config))
		decoder.UseNumber()
		if decoder.Decode(&one) != nil || !merge(all, one) {
			return nil, false
		}
	}
	return all, true
}

// merge puts one into all, and reports whether they go together: lists are joined, objects merged,
// and anything else must be equal.
func merge(all, one map[string]any) bool {
	for key, value := range one {
		present, known := all[key]
		if !known || reflect.DeepEqual(present, value) {
			all[key] = value
			continue
		}
		switch present := present.(type) {
		case []any:
			list, ok := value.([]any)
			if !ok {
				return false
			}
			all[key] = slices.Concat(present, list)
		case map[string]any:
			object, ok := value.(map[string]any)
			if !ok || !merge(present, object) {
				return false
			}
		default:
			return false
		}
	}
	return true
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

// escaped returns a value as JSON that YAML reads likewise, without what a terminal would obey.
func escaped(value any) string {
	var text, b strings.Builder
	encoder := json.NewEncoder(&text)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(value); err != nil {
		panic("discover: what was JSON is none: " + err.Error())
	}
	for _, r := range strings.TrimSpace(text.String()) {
		if unicode.IsPrint(r) {
			b.WriteRune(r)
		} else {
			fmt.Fprintf(&b, `\U%08x`, r)
		}
	}
	return b.String()
}
