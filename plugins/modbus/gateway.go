package main

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net"
	"sync"
	"time"

	"carillon/plugins/adapter"
)

// version can be set by the linker: -ldflags "-X main.version=1.2.3".
var version = "1.0.0"

// A gateway is the adapter.
type gateway struct {
	dial     func(ctx context.Context, network, address string) (net.Conn, error)
	tryTaken time.Duration

	mu sync.Mutex
	// Guarded by mu.
	devices []*device // set by Configure before Run
	lines   []*line   // set by Run
	refused []string  // why devices are

	outlets map[string]outlet // by entity; static once Run takes commands

	counting sync.Mutex
	counters map[string]float64 // guarded by counting
}

// An outlet is a point, and where it is reached.
type outlet struct {
	point   *point
	station *station
	line    *line
}

func newGateway() *gateway {
	return &gateway{dial: (&net.Dialer{}).DialContext, tryTaken: tryTaken, outlets: map[string]outlet{}, counters: map[string]float64{}}
}

// Describe is the Adapter's. It is exclusive: many devices take one connection only.
func (g *gateway) Describe() adapter.Description {
	return adapter.Description{
		Name: "modbus", Version: version, Schema: json.RawMessage(schema), Exclusive: true,
		Summary: "Devices on Modbus TCP, and on RTU over TCP.",
	}
}

// Configure is the Adapter's.
func (g *gateway) Configure(_ context.Context, c adapter.Config) error {
	devices, err := readSettings(c)
	if err == nil && !c.ValidateOnly {
		g.mu.Lock()
		g.devices = devices
		g.mu.Unlock()
	}
	return err
}

// Run is the Adapter's.
func (g *gateway) Run(ctx context.Context, h *adapter.Host) error {
	lines := g.connect(h)
	h.OnCommand(g.obey)
	for _, d := range g.devices {
		err := g.declare(ctx, h, d)
		if refused := new(adapter.ItemErrors); errors.As(err, &refused) {
			g.noteRefused(h.Log(), d, err)
		} else if err != nil {
			return err
		}
	}
	for _, name := range []string{"requests_total", "errors_total", "exceptions_total", "timeouts_total", "reconnects_total", "polls_skipped_total", "stray_bytes_total", "units_silent"} {
		g.count(h, name, 0)
	}
	return g.runWith(ctx, h, lines)
}

// noteRefused keeps why a device is refused as a whole, for another reason than an entity that somebody else has.
func (g *gateway) noteRefused(log *slog.Logger, d *device, err error) {
	log.Error("the device is refused", "device", d.ID, "err", err)
	g.mu.Lock()
	defer g.mu.Unlock()
	g.refused = append(g.refused, err.Error())
}

// runAll runs the lines until ctx ends, or one has an error.
func runAll(ctx context.Context, lines []*line) error {
	failed := make(chan error, len(lines))
	within, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var all sync.WaitGroup
	for _, l := range lines {
		all.Go(func() {
			if err := l.run(within); err != nil {
				failed <- err
				cancel(err)
			}
		})
	}
	all.Wait()
	close(failed)
	return <-failed // nil if there is none
}

// connect makes the lines: one for each address.
func (g *gateway) connect(h host) []*line {
	g.mu.Lock()
	defer g.mu.Unlock()
	byAddress := map[string]*line{}
	for _, d := range g.devices {
		l := byAddress[d.address]
		if l == nil {
			l = &line{address: d.address, rtu: d.rtu, dial: g.dial, h: h, tasks: make(chan task)}
			l.count = func(counter string, n int) { g.count(h, counter, n) }
			byAddress[d.address] = l
			g.lines = append(g.lines, l)
		}
		byUnit := map[byte]*station{}
		for _, p := range d.points {
			s := byUnit[p.unit]
			if s == nil {
				s = &station{device: d, unit: p.unit}
				byUnit[p.unit] = s
				l.stations = append(l.stations, s)
			}
			if s.points = append(s.points, p); !p.read() {
				s.buttons = append(s.buttons, p)
			} else {
				s.polls++
			}
			g.outlets[p.id] = outlet{p, s, l}
		}
	}
	return g.lines
}

// count counts.
func (g *gateway) count(h host, counter string, n int) {
	g.counting.Lock()
	defer g.counting.Unlock()
	g.counters[counter] += float64(n)
	h.Metric(counter, g.counters[counter])
}
