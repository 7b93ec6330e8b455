//go:build unix

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"carillon/plugins"
	"carillon/plugins/adapter"
)

// beAdapter is what the test binary does when a server starts it as an adapter.
func beAdapter() {
	if os.Getenv("CARILLON_ADAPTER_NAME") == "flood" {
		adapter.Serve(&flood{})
	}
	adapter.Serve(&diary{})
}

// A diary is an adapter that writes down each state of sensor.count, and goes on where it
// was.
type diary struct{ folder string }

func (d *diary) Describe() adapter.Description {
	return adapter.Description{Name: "diary", Version: "1", Summary: "Writes down what is counted."}
}

func (d *diary) Configure(_ context.Context, c adapter.Config) error {
	d.folder = c.StateDir
	return nil
}

func (d *diary) Discover(_ context.Context, found func(adapter.Discovered)) error {
	found(adapter.Discovered{ID: "paper", Title: "A paper", Config: json.RawMessage(`{"path":"/tmp"}`)})
	return nil
}

func (d *diary) Run(ctx context.Context, h *adapter.Host) error {
	out, err := os.OpenFile(filepath.Join(d.folder, "diary"), os.O_CREATE|os.O_APPEND|os.O_RDWR, 0o600)
	if err != nil {
		return err
	}
	defer out.Close()
	f := adapter.Follow{Selection: adapter.Selection{Types: []string{"state_changed"}, Entities: []string{"sensor.c*"}}}
	if lines := diaryLines(d.folder); len(lines) > 0 {
		f.After, _, _ = strings.Cut(lines[len(lines)-1], " ")
	}
	f.Snapshot = f.After == ""
	return h.Follow(ctx, f, func(list []adapter.Happening) error {
		var b bytes.Buffer
		for _, one := range list {
			var e struct {
				Data struct {
					New struct {
						State string `json:"state"`
					} `json:"new_state"`
				} `json:"data"`
			}
			if one.Gap != nil {
				e.Data.New.State = "gap:" + one.Gap.Reason
			} else if err := json.Unmarshal(one.JSON, &e); err != nil {
				return err
			}
			fmt.Fprintln(&b, one.ID, e.Data.New.State)
		}
		_, err := out.Write(b.Bytes()) // in one piece, or a kill would cut a line
		return err
	})
}

// diaryLines returns what a diary has written.
func diaryLines(folder string) []string {
	text, _ := os.ReadFile(filepath.Join(folder, "diary"))
	return strings.FieldsFunc(string(text), func(r rune) bool { return r == '\n' })
}

// A diaryHome is a home with a diary and a sensor.count.
type diaryHome struct {
	*instance
	n int // the count
}

func (d *diaryHome) folder() string {
	return filepath.Join(d.home, "data", "plugins", "state", "diary")
}

func (d *diaryHome) count(to int) {
	d.t.Helper()
	for d.n < to {
		d.n++
		d.do("POST", "/api/states/sensor.count", fmt.Sprintf(`{"state":"%d"}`, d.n))
	}
}

// written waits until the diary has the count.
func (d *diaryHome) written() {
	d.t.Helper()
	eventually(d.t, fmt.Sprintf("%d is in the diary", d.n), func() bool {
		lines := diaryLines(d.folder())
		return len(lines) > 0 && strings.HasSuffix(lines[len(lines)-1], fmt.Sprintf(" %d", d.n))
	})
}

// An adapter hears each event once, over everything that may end in between.
func TestFollowEndToEnd(t *testing.T) {
	in := &diaryHome{instance: serve(t, newHome(t, nil), "-listen", "127.0.0.1:0")}
	program := filepath.Join(t.TempDir(), "program")
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	write(t, program, "#!/bin/sh\nexec '"+self+"'\n")
	in.count(1)
	in.install(program, "diary")
	in.written()
	in.count(50)
	in.written()
	in.plugins(0, "disable", "diary")
	eventually(t, "it is stopped", func() bool { return in.plugin("diary").State == plugins.Disabled })
	in.count(100)
	in.plugins(0, "enable", "diary")
	in.count(120)
	in.written()
	if st := in.plugin("diary"); st.Follows != 1 || st.Counters.Followed != 120 || !st.Discovers {
		t.Errorf("got %+v, want one follow that was told 120 events", st)
	}
	if got := in.do("GET", "/metrics", ""); !strings.Contains(got, `carillon_adapter_followed_events_total{adapter="diary"} 120`) || !strings.Contains(got, `carillon_adapter_follow_lag{adapter="diary"}`) {
		t.Error("the metrics don't tell of the follow")
	}
	if got := in.plugins(0, "discover", "diary"); !strings.Contains(got, "paper   A paper") || !strings.Contains(got, `"path": "/tmp"`) {
		t.Errorf("discover: got %s", got)
	}
	if got := in.plugins(1, "discover", "teapot"); !strings.Contains(got, "Adapter teapot: there is no such adapter.") {
		t.Errorf("discover teapot: got %s", got)
	}
	for _, end := range []syscall.Signal{syscall.SIGTERM, syscall.SIGKILL} {
		in.signal(end)
		in.instance = serve(t, in.home, "-listen", "127.0.0.1:0")
		in.count(in.n + 40)
		in.written()
	}
	var got, want []string
	for i, line := range diaryLines(in.folder()) {
		_, state, _ := strings.Cut(line, " ")
		got, want = append(got, state), append(want, fmt.Sprint(i+1))
	}
	if !slices.Equal(got, want) || len(got) != in.n {
		t.Errorf("got %v, want each of 1 to %d once", got, in.n)
	}
}
