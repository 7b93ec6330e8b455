package loadtest

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// usage is what a process has used so far.
type usage struct {
	cpu time.Duration
	rss int64 // bytes
	// heap and stacks in bytes, if the server's /metrics tells them.
	heapStacks int64
	known      bool // cpu and rss are
}

// usage reads the server process's CPU time and memory, if it has one here.
func (t *test) usage() (u usage) {
	if t.o.PID == 0 {
		return u
	}
	var err error
	if u.cpu, u.rss, err = readProcess(t.o.PID); err != nil {
		fmt.Fprintf(t.o.Notes, "server's CPU and memory are unknown: %v\n", err)
		return usage{}
	}
	u.known = true
	return u
}

// holdOne opens a stream that is not the test's until release is called: what
// the server makes once for all streams is then there before its memory is
// measured. If it does not open, the test's own streams will tell why.
func (t *test) holdOne() (release func()) {
	ctx, cancel := context.WithCancel(t.ctx)
	req, err := t.request(ctx, t.target)
	if err != nil {
		return cancel
	}
	opened := make(chan struct{})
	go func() {
		defer close(opened)
		if resp, err := http.DefaultClient.Do(req); err == nil {
			context.AfterFunc(ctx, func() { resp.Body.Close() })
		}
	}()
	select {
	case <-opened:
	case <-time.After(t.o.Settle):
	}
	return cancel
}

// request makes a GET with the test's credential and header lines.
func (t *test) request(ctx context.Context, u *url.URL) (*http.Request, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		return nil, err
	}
	for _, h := range t.o.Header {
		name, value, _ := strings.Cut(h, ":")
		req.Header.Add(strings.TrimSpace(name), strings.TrimSpace(value))
	}
	if t.o.Token != "" {
		req.Header.Set("Authorization", "Bearer "+t.o.Token)
	}
	return req, nil
}

// measure reads the server's memory, from the outside and from its metrics.
func (t *test) measure(r *Report) usage {
	u := t.usage()
	if u.known {
		u.heapStacks = t.heapStacks()
	}
	return u
}

// heapStacks asks the server's /metrics for the bytes of heap and stacks in
// use, 0 if it does not tell. The heap holds garbage of up to a whole cycle:
// the figure is taken as it is.
func (t *test) heapStacks() (bytes int64) {
	if t.o.Post == nil {
		return 0
	}
	ctx, cancel := context.WithTimeout(t.ctx, 5*time.Second)
	defer cancel()
	u := *t.o.Post
	u.Path, u.RawQuery = "/metrics", ""
	req, err := t.request(ctx, &u)
	if err != nil {
		return 0
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return 0
	}
	return parseHeapStacks(io.LimitReader(resp.Body, 8<<20))
}

// parseHeapStacks adds up the two lines of a Prometheus text.
func parseHeapStacks(text io.Reader) (bytes int64) {
	lines := bufio.NewScanner(text)
	found := 0
	for lines.Scan() {
		name, value, _ := strings.Cut(lines.Text(), " ")
		if name == "go_memstats_heap_inuse_bytes" || name == "go_memstats_stack_inuse_bytes" {
			if n, err := strconv.ParseFloat(strings.TrimSpace(value), 64); err == nil {
				bytes += int64(n)
				found++
			}
		}
	}
	if found != 2 {
		return 0
	}
	return bytes
}
