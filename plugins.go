package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"text/tabwriter"
	"time"

	"carillon/plugins"
)

const pluginsUsage = `Usage: carillon plugins [flags] [restart|drain|disable|enable|discover NAME ...]

Lists the adapters of a running server and how they are, or asks it to
  restart   start an adapter anew, also one that has failed
  drain     let it publish what it holds, for 30s at most, and end it
  disable   the same, for 5s at most
  enable    start it again after either
  discover  look for devices that could be configured, and print how
RESTARTS are all starts after the first since the server started: after a crash, and
also for a new executable, a changed configuration or on request.
The token is that of the environment's CARILLON_TOKEN, or of ./home for a server
on this machine.

Examples:
  carillon plugins
  carillon plugins restart hostsensors
  carillon plugins -timeout 30s discover desk-lamp
  carillon plugins -server http://127.0.0.1:8123/?token=T -json

Flags:
`

// pluginsCommand is the command plugins at work.
type pluginsCommand struct {
	server *url.URL
	token  string
	json   bool
	stdout io.Writer

	timeout time.Duration // of discover
}

// runPlugins is the command plugins. It returns the exit status: 0, 1 if the server
// refuses or can't be reached, 2 for a wrong command line.
func runPlugins(args []string, stdout, stderr io.Writer) int {
	c := &pluginsCommand{stdout: stdout}
	rest, err := c.parse(args)
	if errors.Is(err, flag.ErrHelp) {
		return 0
	}
	if err != nil {
		fmt.Fprintln(stderr, "carillon plugins:", err)
		return 2
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	switch {
	case len(rest) == 0:
		err = c.list(ctx)
	case rest[0] == "discover":
		for _, name := range rest[1:] {
			err = errors.Join(err, c.discover(ctx, name))
		}
	default:
		err = c.control(ctx, rest[0], rest[1:])
	}
	if err != nil {
		fmt.Fprintln(stderr, "carillon plugins:", err)
		return 1
	}
	return 0
}

// parse reads the flags into c and returns what else there is.
func (c *pluginsCommand) parse(args []string) (rest []string, err error) {
	fs := flag.NewFlagSet("plugins", flag.ContinueOnError)
	server := fs.String("server", "http://127.0.0.1:8123", "the server's `address`; the one that serve prints, with its token, will do")
	fs.StringVar(&c.token, "token", "", "`credential` to send")
	fs.BoolVar(&c.json, "json", false, "print the list, or what is discovered, as JSON")
	fs.DurationVar(&c.timeout, "timeout", 10*time.Second, "how long discover looks, 1s to 60s")
	rest, err = parseFlags(fs, pluginsUsage, args, c.stdout)
	if err != nil {
		return nil, err
	}
	fs.Visit(func(f *flag.Flag) {
		if f.Name == "timeout" && (len(rest) == 0 || rest[0] != "discover") {
			err = errors.New("-timeout is for discover only")
		}
	})
	if err != nil {
		return nil, err
	}
	u, token, err := serverURL(*server)
	if err != nil {
		return nil, err
	}
	c.server, c.token = u, firstOf(c.token, token, os.Getenv("CARILLON_TOKEN"), homeToken(u))
	return rest, checkPluginWords(rest)
}

// checkPluginWords checks what is asked, and of which adapters.
func checkPluginWords(words []string) error {
	if len(words) == 0 {
		return nil
	}
	verbs := []string{"restart", "drain", "disable", "enable", "discover"}
	if !slices.Contains(verbs, words[0]) {
		return fmt.Errorf("%q can't be asked of adapters; what can is %s", words[0], strings.Join(verbs, ", "))
	}
	if len(words) == 1 {
		return fmt.Errorf("%s needs the name of an adapter, such as: carillon plugins %s hostsensors", words[0], words[0])
	}
	for _, name := range words[1:] {
		if !plugins.ValidName(name) {
			return fmt.Errorf("%q is no name of an adapter; `carillon plugins` lists them", name)
		}
	}
	return nil
}

// ask sends a request and returns the answer's body.
func (c *pluginsCommand) ask(ctx context.Context, method string, body []byte, path ...string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second+c.timeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, c.server.JoinPath(path...).String(), bytes.NewReader(body))
	if err != nil {
		return nil, fmt.Errorf("asking the server: %w", err)
	}
	req.Header.Set("Authorization", "Bearer "+c.token)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, fmt.Errorf("asking the server: %w (is it running? another address: -server URL)", err)
	}
	defer resp.Body.Close()
	body, err = io.ReadAll(io.LimitReader(resp.Body, 64<<20))
	if err != nil {
		return nil, fmt.Errorf("reading the server's answer: %w", err)
	}
	if resp.StatusCode/100 == 2 {
		return body, nil
	}
	var answer struct{ Message string }
	if json.Unmarshal(body, &answer) != nil || answer.Message == "" {
		answer.Message = "the server answered " + resp.Status
	}
	return nil, errors.New(answer.Message)
}

// control asks for an action with each of the adapters, whatever becomes of
// the others.
func (c *pluginsCommand) control(ctx context.Context, action string, names []string) error {
	var errs []error
	for _, name := range names {
		body, err := c.ask(ctx, http.MethodPost, nil, "api", "plugins", url.PathEscape(name), url.PathEscape(action))
		if err != nil {
			errs = append(errs, err)
			continue
		}
		var answer struct{ Message string }
		if err := json.Unmarshal(body, &answer); err != nil {
			errs = append(errs, fmt.Errorf("reading the server's answer: %w", err))
			continue
		}
		fmt.Fprintln(c.stdout, answer.Message)
	}
	return errors.Join(errs...)
}

func (c *pluginsCommand) list(ctx context.Context) error {
	body, err := c.ask(ctx, http.MethodGet, nil, "api", "plugins")
	if err != nil {
		return err
	}
	if c.json {
		fmt.Fprintf(c.stdout, "%s\n", strings.TrimSpace(string(body)))
		return nil
	}
	var all []plugins.Status
	if err := json.Unmarshal(body, &all); err != nil {
		return fmt.Errorf("reading the server's answer: %w", err)
	}
	if len(all) == 0 {
		fmt.Fprintln(c.stdout, "There are no adapters. Put an executable into plugins/ of the home folder.")
		return nil
	}
	return writePlugins(c.stdout, all, time.Now())
}

// writePlugins writes the list for people: a table, and below an adapter what is
// wrong with it.
func writePlugins(w io.Writer, all []plugins.Status, now time.Time) error {
	t := tabwriter.NewWriter(w, 0, 8, 2, ' ', 0)
	fmt.Fprintln(t, "ADAPTER\tSTATE\tSINCE\tVERSION\tPID\tENTITIES\tITEMS\tQUEUE\tRESTARTS")
	for _, a := range all {
		pid := "-"
		if a.PID > 0 {
			pid = fmt.Sprint(a.PID)
		}
		fmt.Fprintf(t, "%s@%d\t%s\t%s\t%s\t%s\t%d\t%d\t%d\t%d\n", a.Name, a.Generation, a.State,
			max(now.Sub(a.Since), 0).Round(time.Second), firstOf(a.Version, "-"), pid, a.Entities, a.Counters.Items, a.Queue, a.Restarts)
	}
	if err := t.Flush(); err != nil {
		return err
	}
	for _, a := range all {
		for _, line := range troubles(&a, now) {
			if _, err := fmt.Fprintf(w, "%s: %s\n", a.Name, line); err != nil {
				return err
			}
		}
	}
	return nil
}

// troubles returns what is wrong with an adapter, in lines.
func troubles(a *plugins.Status, now time.Time) (lines []string) {
	if a.Refused > 0 {
		why := strings.Join(strings.Fields(a.Refusal), " ")
		lines = append(lines, fmt.Sprintf("what it said was refused (%d), first: %s", a.Refused, why))
	}
	for line := range strings.Lines(strings.TrimSpace(firstOf(a.Error, string(a.Reason)))) {
		lines = append(lines, strings.Join(strings.Fields(line), " "))
	}
	if last := len(lines) - 1; last >= 0 && !a.RetryAt.IsZero() {
		lines[last] += fmt.Sprintf(" (tried again in %v)", max(a.RetryAt.Sub(now), 0).Round(100*time.Millisecond))
	}
	return lines
}
