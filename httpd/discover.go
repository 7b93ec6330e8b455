package httpd

import (
	"bytes"
	"context"
	"encoding/json"
	"time"

	"github.com/valyala/fasthttp"
)

// How long an adapter may look for devices: what a request may ask for, and what
// it gets if it says nothing.
const (
	shortDiscovery, usualDiscovery, longDiscovery = time.Second, 10 * time.Second, time.Minute
)

// A PluginError is why an adapter does not do what was asked of it.
type PluginError struct {
	Kind PluginErrorKind
	Err  error
}

// A PluginErrorKind says what is in the way.
type PluginErrorKind int

// The kinds, and their statuses.
const (
	PluginFailed  PluginErrorKind = iota // 502
	PluginUnknown                        // 404: there is none of that name
	PluginCannot                         // 501: it never does
	PluginBusy                           // 409: it does not now
)

func (e *PluginError) Error() string { return e.Err.Error() }

func (e *PluginError) Unwrap() error { return e.Err }

func (e *PluginError) status() int {
	switch e.Kind {
	case PluginUnknown:
		return fasthttp.StatusNotFound
	case PluginCannot:
		return fasthttp.StatusNotImplemented
	case PluginBusy:
		return fasthttp.StatusConflict
	}
	return fasthttp.StatusBadGateway
}

// postDiscover lets an adapter look for devices that could be configured, and answers
// with what it found when it has looked everywhere or the time is up.
func (s *Server) postDiscover(c *call, name string) error {
	limit, err := discoveryTime(c.PostBody())
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	ended := make(chan struct{})
	defer close(ended)
	go func() {
		select {
		case <-s.stopped:
			cancel()
		case <-ended:
		}
	}()
	s.log.Info("adapter: discover on request", "adapter", name, "remote", remote(c.RequestCtx))
	found, err := s.DiscoverPlugin(ctx, name, limit)
	if err != nil {
		return err
	}
	c.Response.Header.Set("Cache-Control", "no-store")
	return writeJSON(c, found)
}

// discoveryTime reads {"timeout": 10}, in seconds; nothing at all is the usual time.
func discoveryTime(body []byte) (time.Duration, error) {
	if len(bytes.TrimSpace(body)) == 0 {
		return usualDiscovery, nil
	}
	request := struct {
		Timeout *float64 `json:"timeout"`
	}{}
	d := json.NewDecoder(bytes.NewReader(body))
	d.DisallowUnknownFields()
	if err := d.Decode(&request); err != nil || d.More() {
		return 0, refuse(fasthttp.StatusBadRequest, `The body must be a JSON object such as {"timeout": 10}, or empty.`)
	}
	if request.Timeout == nil {
		return usualDiscovery, nil
	}
	limit := *request.Timeout
	if limit < shortDiscovery.Seconds() || limit > longDiscovery.Seconds() {
		return 0, refuse(fasthttp.StatusBadRequest, "Parameter timeout must be %v to %v seconds.", shortDiscovery.Seconds(), longDiscovery.Seconds())
	}
	return time.Duration(limit * float64(time.Second)), nil
}
