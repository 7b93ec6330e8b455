package plugins

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"carillon/plugins/adapter/wire"
	"carillon/runtime"
)

// A Discovery is what an adapter found when it looked for devices that could be
// configured.
type Discovery struct {
	Devices  []Discovered `json:"devices"`  // by id, at most 1,000
	Complete bool         `json:"complete"` // it has looked everywhere; else the time was up, or it found too much
	LeftOut  int          `json:"left_out"` // devices over the limits, and such that are none
}

// Discovered is a device that could be configured.
type Discovered struct {
	ID     string          `json:"id"`     // what tells it from others: an address, a serial number
	Title  string          `json:"title"`  // for people
	Config json.RawMessage `json:"config"` // an object to put into the adapter's configuration
}

// Why an adapter doesn't look for devices.
var (
	ErrNotInService = errors.New("the adapter is not in service")
	ErrDiscovers    = errors.New("the adapter can't look for devices")
	ErrDiscovering  = errors.New("the adapter is looking for devices already")
)

const (
	maxDiscovered      = 1000
	maxDiscoveredBytes = 4 << 20 // of all devices together
	maxDiscoveries     = 10_000  // that it may tell, with repetitions and such that are none
	maxDeviceName      = 255     // bytes of an id, and of a title
)

// Discover lets an adapter look for devices, for as long as is given at most. A device
// that is found twice is what was said last. The error is ErrUnknown, ErrNotInService,
// ErrDiscovers, ErrDiscovering, or why the adapter failed before it found any.
func (h *Host) Discover(ctx context.Context, name string, limit time.Duration) (*Discovery, error) {
	h.init()
	h.mu.Lock()
	a := h.adapters[name]
	h.mu.Unlock()
	if a == nil {
		return nil, ErrUnknown
	}
	a.mu.Lock()
	g := a.inUse
	a.mu.Unlock()
	switch {
	case g == nil || g.session.ctx.Err() != nil:
		return nil, fmt.Errorf("%w: it is %s", ErrNotInService, a.State())
	case !g.desc.Discovers:
		return nil, ErrDiscovers
	case !a.discovering.CompareAndSwap(false, true):
		return nil, ErrDiscovering
	}
	defer a.discovering.Store(false)
	ctx, cancel := context.WithTimeout(ctx, limit+h.times.health)
	defer cancel()
	began := time.Now()
	f := &finder{a: a, byID: map[string]Discovered{}}
	err := f.find(ctx, g.client, limit)
	found := f.found()
	found.Complete = err == nil && time.Since(began) < limit
	if errors.Is(err, errEnough) || errors.Is(err, errLate) {
		a.log().Warn("discovery of an adapter was cut off", "generation", g.source, "devices", len(found.Devices), "err", err)
		err = nil
	}
	if err != nil && len(found.Devices) > 0 {
		a.log().Warn("an adapter failed while it looked for devices", "generation", g.source, "devices", len(found.Devices), "err", err)
		err = nil
	}
	if err != nil {
		return nil, err
	}
	return found, nil
}

// Why a finder stops before the adapter does.
var (
	errEnough = errors.New("it found more than is taken")
	errLate   = errors.New("it goes on when its time is up")
)

// A finder takes what one discovery finds.
type finder struct {
	a     *adapter
	byID  map[string]Discovered
	bytes int
	out   int // left out
}

// find returns nil if the adapter has ended by itself.
func (f *finder) find(ctx context.Context, client wire.AdapterClient, limit time.Duration) error {
	stream, err := client.Discover(ctx, &wire.DiscoverRequest{TimeoutMs: limit.Milliseconds()})
	for n := 0; err == nil; n++ {
		var w *wire.Discovered
		if w, err = stream.Recv(); err == nil {
			err = f.take(w, n)
		}
	}
	switch code := status.Code(err); {
	case err == io.EOF:
		return nil
	case errors.Is(err, errEnough):
		return err
	case ctx.Err() != nil || code == codes.DeadlineExceeded:
		return errLate
	case code == codes.Unimplemented:
		return ErrDiscovers
	case code == codes.ResourceExhausted:
		return fmt.Errorf("it told of a device in a message of more than %d bytes", MaxMessage)
	}
	return fmt.Errorf("it failed while it looked for devices: %.300s", status.Convert(err).Message())
}

// take takes one device in, the nth.
func (f *finder) take(w *wire.Discovered, n int) error {
	config, err := runtime.CanonicalObject([]byte(w.Config))
	size := len(w.Id) + len(w.Title) + len(config)
	former, again := f.byID[w.Id]
	if again {
		size -= len(former.ID) + len(former.Title) + len(former.Config)
	}
	full := !again && len(f.byID) >= maxDiscovered || f.bytes+size > maxDiscoveredBytes || n >= maxDiscoveries
	if w.Id == "" || len(w.Id) > maxDeviceName || err != nil || full {
		f.out++
		f.a.count(&f.a.stats.discoveries, "discovered", 1)
		if full {
			return errEnough
		}
		return nil
	}
	f.bytes += size
	f.byID[w.Id] = Discovered{ID: w.Id, Title: cut(w.Title, maxDeviceName), Config: bytes.Clone(config)}
	return nil
}

func (f *finder) found() *Discovery {
	d := &Discovery{Devices: make([]Discovered, 0, len(f.byID)), LeftOut: f.out}
	for _, one := range f.byID {
		d.Devices = append(d.Devices, one)
	}
	slices.SortFunc(d.Devices, func(a, b Discovered) int { return cmp.Compare(a.ID, b.ID) })
	return d
}
