package loadtest

import (
	"errors"
	"fmt"
	"io"
	"net/url"
	goruntime "runtime"
	"strings"
	"time"
)

// Options is what a test is to do. Zero values mean what is said for each.
type Options struct {
	// Target is the stream's address, http or https. Required.
	Target *url.URL
	// Selections are queries that are added to Target's, for the streams by
	// turns. Each must take the published events. Empty adds nothing.
	Selections []string
	// Filters is how many distinct filters the streams ask for, by turns; each
	// takes a known part of the published events. 0 asks for none. At most
	// Streams and MaxFilters.
	Filters int
	// Post is where the events go as newline-delimited JSON. Required
	// unless ListenOnly.
	Post *url.URL
	// Streams is how many to open; at least 1.
	Streams int
	// Rate is how many events to publish a second; 0 only holds the streams.
	Rate float64
	// Size is the length in bytes of one event's data; less than a mark
	// takes (about 90) counts as that.
	Size int
	// Duration is for how long to publish or, if ListenOnly, to listen,
	// once all streams are open.
	Duration time.Duration
	// Tick is how long to collect events for one request; 0 is one by one.
	Tick time.Duration
	// Drain is how long to wait for the last events; Settle, how long the
	// streams stay quiet before and after the memory is measured.
	Drain, Settle time.Duration
	// OpenTimeout is how long opening all streams may take, in addition to what Ramp asks for.
	OpenTimeout time.Duration
	// ListenOnly publishes nothing and checks what comes.
	ListenOnly bool
	// Token is the credential sent as a bearer token, if not empty.
	Token string
	// Header has further request header lines, "Name: value".
	Header []string
	// Ramp is how many streams to open a second; 0 is as fast as they open.
	Ramp int
	// NoReconnect leaves a broken stream broken. Otherwise it is opened again with Last-Event-ID.
	NoReconnect bool
	// PID is the server's process, to measure its CPU time and memory; 0 does not.
	PID int
	// Workers is how many goroutines read; 0 is one for two processors.
	Workers int
	// Portable reads with a goroutine per stream even where there is a better way.
	Portable bool
	// Stalled is how many of the streams open and are never read. Events are
	// then published in rounds, by turns without and with them.
	Stalled int
	// Chaos disturbs the streams and the server while events are published; nil does not.
	Chaos *Chaos
	// Progress is called about twice a second. May be nil.
	Progress func(Progress)
	// Notes gets remarks that do not end the test, a line each. Nil discards them.
	Notes io.Writer
}

// Progress is how far a test has come.
type Progress struct {
	Phase                               string // "opening", "settling", "running", "draining"
	Elapsed, Total                      time.Duration
	Open, Streams                       int64
	Published, Delivered                int64
	DeliveredPerSecond, BytesPerSecond  float64 // since the call before
	Faults, Reconnects, Pending, Others int64
	Restarts                            int64 // of the server, by the test
}

func (o *Options) checkFilters() error {
	switch {
	case o.Filters < 0 || o.Filters > MaxFilters || o.Filters > o.Streams-o.Stalled:
		return fmt.Errorf("%d filters for %d streams: each filter needs a stream that is read, and %d are the most", o.Filters, o.Streams-o.Stalled, MaxFilters)
	case o.Filters == 0:
		return nil
	case o.ListenOnly:
		return errors.New("filters need events to be published: what they take is in the events")
	case o.Target.Query().Has("filter"):
		return errors.New("the address has a filter of its own: leave one of them out")
	}
	return nil
}

// check completes o and reports what is wrong with it.
func (o *Options) check() error {
	switch {
	case o.Target == nil || o.Target.Host == "":
		return errors.New("the address of the stream is missing")
	case o.Target.Scheme != "http" && o.Target.Scheme != "https":
		return fmt.Errorf("address %q: the scheme must be http or https", o.Target.Redacted())
	case !o.ListenOnly && o.Post == nil:
		return errors.New("the address to publish to is missing")
	case o.Streams < 1:
		return fmt.Errorf("%d streams: at least 1 is needed", o.Streams)
	case o.Stalled < 0 || o.Stalled >= o.Streams:
		return fmt.Errorf("%d of %d streams that never read: at least one must", o.Stalled, o.Streams)
	case o.Stalled > 0 && (o.ListenOnly || o.Rate == 0 || o.Chaos != nil || o.Target.Scheme != "http"):
		return errors.New("streams that never read need events to be published, http and no chaos")
	case o.Rate < 0 || o.Rate > 1e6:
		return fmt.Errorf("rate %v: from 0 to a million events a second is possible", o.Rate)
	case o.Size < 0 || o.Size > maxBody/2:
		return fmt.Errorf("size %d: from 0 to %d bytes of data is possible", o.Size, maxBody/2)
	case o.Duration <= 0:
		return fmt.Errorf("duration %v: it must be above 0", o.Duration)
	}
	if err := o.checkFilters(); err != nil {
		return err
	}
	for _, h := range o.Header {
		if name, _, ok := strings.Cut(h, ":"); !ok || strings.ContainsAny(h, "\r\n") || strings.TrimSpace(name) == "" {
			return fmt.Errorf("header %q: it must have the form Name: value", h)
		}
	}
	if o.Chaos != nil && (o.ListenOnly || o.Rate == 0 || o.NoReconnect) {
		return errors.New("chaos needs events to be published and streams that reconnect")
	}
	if strings.ContainsAny(o.Token, "\r\n") {
		return errors.New("the token holds a line break")
	}
	if o.Workers <= 0 {
		o.Workers = max(1, goruntime.NumCPU()/2)
	}
	o.Workers = min(o.Workers, o.Streams)
	if o.Notes == nil {
		o.Notes = io.Discard
	}
	return nil
}
