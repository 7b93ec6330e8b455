//go:build unix

package plugins

import (
	"bufio"
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	sdk "carillon/plugins/adapter"
)

// A listener is an adapter by the Go package that follows as its words say, and writes down
// what it is told.
type listener struct {
	words map[string]string
	file  string // where it writes
}

func (l *listener) Describe() sdk.Description {
	return sdk.Description{Name: "listener", Version: "1"}
}

func (l *listener) Configure(_ context.Context, c sdk.Config) error {
	l.file = filepath.Join(c.StateDir, "heard")
	return nil
}

// A heard is a line of what a listener was told.
type heard struct {
	sdk.Happening
	Events int `json:"events"` // in the call
}

// Run follows: types=a,b domains=… entities=… choose, snapshot, own and marks ask for them, resume goes on
// behind the last of an earlier run, wait=<file> waits as long as it is there.
func (l *listener) Run(ctx context.Context, h *sdk.Host) error {
	list := func(word string) []string {
		return slices.DeleteFunc(strings.Split(l.words[word], ","), func(s string) bool { return s == "" })
	}
	f := sdk.Follow{Selection: sdk.Selection{Types: list("types"), Domains: list("domains"), Entities: list("entities")}}
	_, f.Snapshot = l.words["snapshot"]
	_, f.Own = l.words["own"]
	_, f.Marks = l.words["marks"]
	if f.After = l.words["after"]; l.words["resume"] != "" {
		for _, one := range readHeard(l.file) {
			if one.ID != "" {
				f.After = one.ID
			}
		}
	}
	out, err := os.OpenFile(l.file, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer out.Close()
	if err := h.Declare(ctx, sdk.Device{ID: "d", Entities: []sdk.Entity{{ID: "light.listener"}}}); err != nil {
		return err
	}
	if err := h.Set(ctx, sdk.State{EntityID: "light.listener", State: "listening"}); err != nil {
		return err
	}
	return h.Follow(ctx, f, func(list []sdk.Happening) error {
		for l.words["wait"] != "" && ctx.Err() == nil {
			if _, err := os.Stat(l.words["wait"]); err != nil {
				break
			}
			<-time.After(5 * time.Millisecond)
		}
		w := bufio.NewWriter(out)
		for _, one := range list {
			text, err := json.Marshal(heard{one, len(list)})
			if err != nil {
				return err
			}
			w.Write(append(text, '\n'))
		}
		return w.Flush()
	})
}

// readHeard returns what a listener has written, whole lines of it.
func readHeard(file string) (all []heard) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil
	}
	for line := range strings.SplitSeq(string(text), "\n") {
		var one heard
		if json.Unmarshal([]byte(line), &one) == nil {
			all = append(all, one)
		}
	}
	return all
}

// A hearer is an adapter that hears of ticks, and may answer each.
type hearer struct{ answers bool }

func (h *hearer) Describe() sdk.Description { return sdk.Description{Name: "hearer", Version: "1"} }

func (h *hearer) Configure(context.Context, sdk.Config) error { return nil }

func (h *hearer) Run(ctx context.Context, host *sdk.Host) error {
	return host.Follow(ctx, sdk.Follow{Selection: sdk.Selection{Types: []string{"tick"}}}, func(list []sdk.Happening) error {
		for range list {
			if h.answers {
				if err := host.Fire(ctx, "answer", nil); err != nil {
					return err
				}
			}
		}
		return nil
	})
}
