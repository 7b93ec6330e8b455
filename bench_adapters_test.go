//go:build unix

package main

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"carillon/plugins"
	"carillon/plugins/adapter"
	"carillon/runtime"
	"carillon/runtime/journal"
)

// A flood is an adapter that tells numbers of sensor.flood_0, sensor.flood_1 and so on, by turns, each
// number once and in order, and takes commands. It goes on where its last process was.
type flood struct {
	Entities int  `json:"entities"`
	Rate     int  `json:"rate"`    // events a second; 0: as fast as they are taken
	Batch    int  `json:"batch"`   // states of one call
	Clock    bool `json:"clock"`   // the number is the time in nanoseconds
	Last     int  `json:"last"`    // where to end; 0: never
	Ballast  int  `json:"ballast"` // bytes of an attribute

	folder string
}

func (f *flood) Describe() adapter.Description {
	return adapter.Description{Name: "flood", Version: "1", Summary: "Tells numbers."}
}

func (f *flood) Configure(_ context.Context, c adapter.Config) error {
	next := flood{Entities: 100, Batch: 100}
	err := c.Decode(&next)
	if err == nil && !c.ValidateOnly {
		*f, f.folder = next, c.StateDir
	}
	return err
}

func (f *flood) Run(ctx context.Context, h *adapter.Host) error {
	h.OnCommand(func(ctx context.Context, c adapter.Command) (any, error) {
		state := map[string]string{"turn_on": "on", "turn_off": "off"}[c.Service]
		return nil, h.Set(ctx, adapter.State{EntityID: c.EntityID, State: state})
	})
	d := adapter.Device{ID: "flood", Entities: []adapter.Entity{{ID: "switch.flood", Services: []string{"turn_on", "turn_off"}}}}
	for i := range f.Entities {
		d.Entities = append(d.Entities, adapter.Entity{ID: fmt.Sprint("sensor.flood_", i), Attributes: map[string]any{"unit_of_measurement": "W", "friendly_name": "Flood " + strings.Repeat("x", f.Ballast)}})
	}
	if err := h.Declare(ctx, d); err != nil {
		return err
	}
	file := filepath.Join(f.folder, "last")
	text, _ := os.ReadFile(file)
	last, _ := strconv.Atoi(string(text))
	last, err := f.tell(ctx, h, last)
	if err == nil {
		err = os.WriteFile(file, []byte(strconv.Itoa(last)), 0o600)
	}
	return err
}

func (f *flood) tell(ctx context.Context, h *adapter.Host, last int) (int, error) {
	began, first := time.Now(), last
	states := make([]adapter.State, 0, f.Batch)
	for ctx.Err() == nil && (f.Last == 0 || last < f.Last) {
		n := f.Batch
		if f.Rate > 0 {
			if n = min(n, int(time.Since(began).Seconds()*float64(f.Rate))-(last-first)); n <= 0 {
				time.Sleep(time.Millisecond)
				continue
			}
		}
		states = states[:0]
		for range n {
			last++
			value := strconv.Itoa(last)
			if f.Clock {
				value = strconv.FormatInt(time.Now().UnixNano(), 10)
			}
			states = append(states, adapter.State{EntityID: fmt.Sprint("sensor.flood_", last%f.Entities), State: value})
		}
		if err := h.Set(ctx, states...); err != nil {
			return last, err
		}
	}
	<-ctx.Done()
	return last, nil
}

// serveFlood starts a server with a flood.
func serveFlood(x *testing.B, config string) *instance {
	x.Helper()
	home := newHome(x, nil)
	write(x, filepath.Join(home, configFile), "plugins:\n  flood:\n    config: "+config+"\n")
	in := serve(x, home, "-listen", "127.0.0.1:0")
	in.installSelf("flood", 1)
	return in
}

// installSelf installs this test's binary as an adapter; each version is another file.
func (in *instance) installSelf(name string, version int) {
	in.t.Helper()
	self, err := os.Executable()
	if err != nil {
		in.t.Fatal(err)
	}
	program := filepath.Join(in.t.TempDir(), "program")
	write(in.t, program, fmt.Sprintf("#!/bin/sh\n# %d\nexec '%s'\n", version, self))
	in.install(program, name)
}

// BenchmarkAdapterToJournal is events of an adapter into the real journal, over mutual TLS,
// for ten seconds.
//
//	go test -run '^$' -bench AdapterToJournal -benchtime 1x .
func BenchmarkAdapterToJournal(x *testing.B) {
	for x.Loop() {
		in := serveFlood(x, "{entities: 1000, batch: 128}")
		eventually(x, "it tells", func() bool { return in.plugin("flood").Counters.Items > 10_000 })
		began, before := time.Now(), in.plugin("flood").Counters.Items
		var rates []float64
		second, items := began, before
		most := int64(0)
		for time.Since(began) < 10*time.Second {
			time.Sleep(time.Second)
			st := in.plugin("flood")
			most = max(most, st.Queue)
			rates = append(rates, float64(st.Counters.Items-items)/time.Since(second).Seconds())
			second, items = time.Now(), st.Counters.Items
		}
		slices.Sort(rates)
		st := in.plugin("flood")
		x.ReportMetric(float64(st.Counters.Items-before)/time.Since(began).Seconds(), "events/s")
		x.ReportMetric(rates[0], "events/s-worst-second")
		x.ReportMetric(float64(most), "queue-most")
		x.ReportMetric(float64(st.Counters.Refused+st.Counters.Dropped), "lost")
		x.ReportMetric(residentMB(x, in.cmd.Process.Pid), "server-MB")
		x.ReportMetric(residentMB(x, st.PID), "adapter-MB")
	}
}

// residentMB is the memory that a process has, on Linux.
func residentMB(x *testing.B, pid int) float64 {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/statm", pid))
	if err != nil {
		return 0
	}
	var size, resident float64
	fmt.Sscan(string(text), &size, &resident)
	return resident * float64(os.Getpagesize()) / 1e6
}

// BenchmarkAdapterToSocket is from an adapter's Set to a subscriber's socket, at 100
// events a second.
func BenchmarkAdapterToSocket(x *testing.B) {
	for x.Loop() {
		in := serveFlood(x, "{entities: 10, batch: 1, rate: 100, clock: true}")
		ctx, stop := context.WithCancel(x.Context())
		frames := in.stream(ctx, "/subscribe_events?type=state_changed")
		var took []time.Duration
		for f := range frames {
			now := time.Now()
			if at, err := strconv.ParseInt(between(f.raw, `"state":"`), 10, 64); err == nil {
				took = append(took, now.Sub(time.Unix(0, at)))
			}
			if len(took) == 1000 {
				break
			}
		}
		stop()
		reportTook(x, took)
	}
}

// BenchmarkAdapterSwap replaces an adapter ten times while it tells 10,000 events a second and gets
// commands.
func BenchmarkAdapterSwap(x *testing.B) {
	for x.Loop() {
		in := serveFlood(x, "{entities: 100, batch: 100, rate: 10000}")
		ctx, stop := context.WithCancel(x.Context())
		var last, strange atomic.Int64
		done := make(chan struct{})
		frames := in.stream(ctx, "/subscribe_events?type=state_changed&domain=sensor")
		go func() {
			defer close(done)
			for f := range frames {
				n, err := strconv.ParseInt(between(f.raw, `"state":"`), 10, 64)
				if err != nil {
					continue
				}
				if before := last.Swap(n); before != 0 && before != n-1 {
					strange.Add(1)
				}
			}
		}()
		eventually(x, "it tells", func() bool { return last.Load() > 1000 })
		failed, commands := 0, 0
		for i := range 10 {
			generation := in.plugin("flood").Generation
			in.installSelf("flood", i+2)
			for deadline := time.Now().Add(20 * time.Second); time.Now().Before(deadline); {
				status, body := in.request("POST", "/api/services/switch/"+[]string{"turn_on", "turn_off"}[commands%2], `{"entity_id":"switch.flood"}`)
				if status != 200 || !strings.Contains(body, "switch.flood") {
					failed++
				}
				commands++
				if st := in.plugin("flood"); st.Generation > generation && st.State == plugins.Ready {
					break
				}
			}
		}
		told := last.Load()
		eventually(x, "it goes on", func() bool { return last.Load() > told })
		stop()
		<-done
		x.ReportMetric(float64(strange.Load()), "lost-or-twice")
		x.ReportMetric(float64(failed), "failed-commands")
		x.ReportMetric(float64(commands), "commands")
		x.ReportMetric(float64(in.plugin("flood").Generation-1), "swaps")
	}
}

// BenchmarkAdapterCall is a command to an adapter and back, with the three events of it in the
// real journal.
func BenchmarkAdapterCall(x *testing.B) {
	dir := x.TempDir()
	j, err := journal.Open(x.Context(), journal.Options{Dir: filepath.Join(dir, "data")})
	if err != nil {
		x.Fatal(err)
	}
	defer j.Close()
	rt, err := runtime.Open(x.Context(), j, runtime.Options{Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		x.Fatal(err)
	}
	defer rt.Close()
	self, err := os.Executable()
	if err != nil {
		x.Fatal(err)
	}
	program := filepath.Join(dir, "plugins", "flood")
	write(x, program, "#!/bin/sh\nexec '"+self+"'\n")
	if err := os.Chmod(program, 0o755); err != nil {
		x.Fatal(err)
	}
	h := &plugins.Host{
		Dir: filepath.Dir(program), DataDir: filepath.Join(dir, "data", "plugins"), Runtime: rt, Log: slog.New(slog.DiscardHandler),
		Adapters: map[string]plugins.AdapterConfig{"flood": {Config: []byte(`{"entities":1,"batch":1,"rate":1}`)}},
	}
	ctx, stop := context.WithCancel(x.Context())
	done := make(chan error)
	go func() { done <- h.Run(ctx) }()
	eventually(x, "it is there", func() bool { return rt.State("switch.flood") != nil })
	var took []time.Duration
	for i := 0; x.Loop(); i++ {
		began := time.Now()
		c := runtime.Command{Domain: "switch", Service: []string{"turn_on", "turn_off"}[i%2], Data: []byte(`{"entity_id":"switch.flood"}`)}
		if _, err := rt.Call(ctx, c); err != nil {
			x.Fatal(err)
		}
		took = append(took, time.Since(began))
	}
	reportTook(x, took)
	stop()
	<-done
}

// reportTook reports the median and the 99th percentile.
func reportTook(x *testing.B, took []time.Duration) {
	slices.Sort(took)
	x.ReportMetric(float64(took[len(took)/2].Microseconds()), "p50-µs")
	x.ReportMetric(float64(took[len(took)*99/100].Microseconds()), "p99-µs")
}

// BenchmarkAdapterCommand is a command over REST to an adapter and back, with the three events of it
// in the real journal.
func BenchmarkAdapterCommand(x *testing.B) {
	in := serveFlood(x, "{entities: 1, batch: 1, rate: 1}")
	eventually(x, "it is there", func() bool {
		status, _ := in.request("GET", "/api/states/switch.flood", "")
		return status == 200
	})
	var took []time.Duration
	for i := 0; x.Loop(); i++ {
		began := time.Now()
		in.do("POST", "/api/services/switch/"+[]string{"turn_on", "turn_off"}[i%2], `{"entity_id":"switch.flood"}`)
		took = append(took, time.Since(began))
	}
	reportTook(x, took)
}
