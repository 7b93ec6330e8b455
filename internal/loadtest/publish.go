package loadtest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"time"
)

// maxBody bounds a request in bytes; a server takes 1 MiB by default.
const maxBody = 512 << 10

// publisher sends the events. They go over one connection, one request after
// the other, as the order among several would be anyone's.
type publisher struct {
	run    *test
	client *http.Client
	start  int64 // run time in ns, when the first event is due
	before int64 // number of the event before that one
	every  float64
	last   int64 // number of the last event

	body    []byte
	sent    atomic.Int64
	retries atomic.Int64
	slowest time.Duration // longest request
}

// newPublisher returns a publisher of the events behind the number before,
// from the run time start on.
func newPublisher(t *test, start, before int64) *publisher {
	p := &publisher{
		run: t, start: start, before: before, every: float64(time.Second) / t.o.Rate,
		last: before + max(1, int64(t.o.Rate*t.o.Duration.Seconds()+0.5)),
		client: &http.Client{
			Timeout:   30 * time.Second,
			Transport: &http.Transport{MaxIdleConnsPerHost: 1, DisableCompression: true},
		},
	}
	p.sent.Store(before)
	return p
}

// due returns the intended time of event n, in ns of the run.
func (p *publisher) due(n int64) int64 { return p.start + int64(float64(n-1-p.before)*p.every) }

// publish sends every event at its time until the last one or ctx ends.
func (p *publisher) publish(ctx context.Context) error {
	defer p.client.CloseIdleConnections()
	timer := time.NewTimer(0)
	defer timer.Stop()
	for n := p.before + 1; n <= p.last; {
		now := p.run.now()
		if wait := p.due(n) - now; wait > 0 {
			timer.Reset(max(time.Duration(wait), p.run.o.Tick))
			select {
			case <-ctx.Done():
				return nil
			case <-timer.C:
			}
			continue
		}
		next := p.fill(n, now)
		if err := p.send(ctx, span{n, next - 1}); err != nil || ctx.Err() != nil {
			return err
		}
		p.sent.Store(next - 1)
		n = next
	}
	return nil
}

// fill writes the events from n that are due into the body, as far as they
// fit, and returns the number behind them.
func (p *publisher) fill(n, now int64) (next int64) {
	p.body = p.body[:0]
	for ; n <= p.last && p.due(n) <= now; n++ {
		if len(p.body)+p.run.o.Size+256 > maxBody {
			break
		}
		p.body = appendEvent(p.body, mark{p.run.runID, n, p.run.unix(p.due(n)), p.run.spread.key(n)}, p.run.o.Size)
	}
	return n
}

// send posts the body until the server takes it. An attempt without an
// answer may have been stored, so the streams are told that its events may
// come twice.
func (p *publisher) send(ctx context.Context, events span) error {
	for attempt := uint8(0); ; attempt++ {
		begin := p.run.now()
		unclear, err := p.post(ctx)
		p.slowest = max(p.slowest, time.Duration(p.run.now()-begin))
		if err == nil || ctx.Err() != nil {
			return nil
		}
		var r *refusal
		if errors.As(err, &r) && r.final() || p.run.o.NoReconnect || p.run.now()-p.due(events.first) > int64(time.Minute) {
			return fmt.Errorf("publishing events: %w", err)
		}
		if unclear {
			p.run.retried(events)
		}
		p.retries.Add(1)
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(backoff(attempt) / 2):
		}
	}
}

// post makes one attempt. unclear says that it failed and may still have
// been stored.
func (p *publisher) post(ctx context.Context) (unclear bool, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, p.run.o.Post.String(), bytes.NewReader(p.body))
	if err != nil {
		return false, err
	}
	req.GetBody = nil // or the transport would send it again by itself
	for _, h := range p.run.o.Header {
		name, value, _ := strings.Cut(h, ":")
		req.Header.Add(strings.TrimSpace(name), strings.TrimSpace(value))
	}
	req.Header.Set("Content-Type", "application/x-ndjson")
	if p.run.o.Token != "" {
		req.Header.Set("Authorization", "Bearer "+p.run.o.Token)
	}
	resp, err := p.client.Do(req)
	if err != nil {
		var op *net.OpError
		return !errors.As(err, &op) || op.Op != "dial", err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(io.LimitReader(resp.Body, 4<<10))
	if resp.StatusCode/100 != 2 {
		return resp.StatusCode >= 500, &refusal{resp.StatusCode, "the server answers " + resp.Status + ": " + strings.TrimSpace(string(text))}
	}
	if err == nil {
		io.Copy(io.Discard, resp.Body)
	}
	return false, nil
}
