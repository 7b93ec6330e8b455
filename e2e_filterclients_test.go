package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestBrowserClient drops carillon.mjs and a page into www/ and lets a real
// browser tell over REST what a filtered stream brought, also over a restart
// of the server, and what becomes of a wrong filter.
func TestBrowserClient(t *testing.T) {
	t.Parallel()
	chromium := need(t, "chromium", "chromium-browser", "google-chrome")
	home := newHome(t, nil)
	client, err := os.ReadFile(filepath.Join("examples", "clients", "carillon.mjs"))
	if err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(home, configFile), "stream: {retry: 100ms}\n")
	write(t, filepath.Join(home, "www", "carillon.mjs"), string(client))
	write(t, filepath.Join(home, "www", "follow.html"), `<!doctype html><title>follow</title><script type="module">
import { follow } from "./carillon.mjs";
const token = new URLSearchParams(location.search).get("t");
const tell = (saw) => (what) => fetch("/api/events/browser_saw?api_password=" + token, {method: "POST", body: JSON.stringify({saw, ...what})});
const told = Object.fromEntries(["gap", "reset", "fault", "state", "refused", "filterError"].map((kind) => [kind, tell(kind)]));
follow("/api/stream", {
  token, ...told, retry: 100,
  filter: (e, params) => e.type === "news" && e.data.list.includes(params.wanted) && { n: e.data.n, "ü": "€" },
  params: { wanted: "it" },
  event: ({ value, id }) => value && tell("event")({ ...value, id }),
}).done.then(() => tell("end")({ of: "stream" }));
follow("/api/stream", { token, filter: "e => e.state ++ 1", refused: tell("wrong") });
</script>`)
	in := serve(t, home, "-listen", "127.0.0.1:0")
	address := strings.TrimPrefix(in.url, "http://")
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	frames := in.stream(ctx, "/api/stream?restrict=browser_saw")
	saw := func(what string) frame {
		t.Helper()
		return awaitFor(t, frames, what+" in the browser", time.Minute, func(f frame) bool {
			if kind := f.Data["saw"]; kind == "fault" || kind == "refused" || kind == "end" {
				t.Errorf("the browser saw %s", f.raw)
			}
			return f.Data["saw"] == what
		})
	}
	browse(t, chromium, in.url+"/local/follow.html?t="+testToken)
	both := map[any]frame{}
	for len(both) < 2 {
		f := await(t, frames, "both in the browser", func(f frame) bool { return f.Data["saw"] == "state" || f.Data["saw"] == "wrong" })
		both[f.Data["saw"]] = f
	}
	if f := both["wrong"]; f.Data["status"] != 400.0 || f.Data["line"] != 1.0 || f.Data["column"] != 17.0 {
		t.Errorf("of a wrong filter the browser saw %s, want its column", f.raw)
	}
	for n := range 6 {
		if n == 4 {
			in.signal(syscall.SIGTERM)
			in = serve(t, home, "-listen", address)
			frames = in.stream(ctx, "/api/stream?restrict=browser_saw")
		}
		in.do("POST", "/api/events/news", fmt.Sprintf(`{"n":%d,"list":["not"]}`, n))
		in.do("POST", "/api/events/news", fmt.Sprintf(`{"n":%d,"list":["this","it"]}`, n))
		if f := saw("event"); f.Data["n"] != float64(n) || f.Data["ü"] != "€" || f.Data["id"] == "" {
			t.Errorf("the browser saw %s, want the projection of %d", f.raw, n)
		}
	}
	in.do("POST", "/api/events/news", `{"n":7}`)
	if f := saw("filterError"); f.Data["message"] == "" || f.Data["errors"] != 1.0 {
		t.Errorf("the browser saw %s, want the filter's error", f.raw)
	}
}

// TestExampleFilters runs a copy of examples/home and asks for each of its filters.
func TestExampleFilters(t *testing.T) {
	t.Parallel()
	home := filepath.Join(t.TempDir(), "home")
	if err := os.CopyFS(home, os.DirFS("examples/home")); err != nil {
		t.Fatal(err)
	}
	in := serve(t, home, "-listen", "127.0.0.1:0")
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	set := func(id, state, attributes string) {
		t.Helper()
		in.do("POST", "/api/states/"+id, fmt.Sprintf(`{"state":%q,"attributes":{%s}}`, state, attributes))
	}
	want := map[string]string{"above": "native", "card": "native", "inside": "worker"}
	eventually(t, "the filters are listed with their tiers", func() bool {
		var listed []struct{ Name, Tier string }
		if err := json.Unmarshal([]byte(in.do("GET", "/api/filters", "")), &listed); err != nil {
			t.Fatal(err)
		}
		tiers := map[string]string{}
		for _, f := range listed {
			tiers[f.Name] = f.Tier
		}
		return maps.Equal(tiers, want)
	})

	above := in.stream(ctx, "/api/stream?filter=@above&limit=20")
	celsius := in.stream(ctx, "/api/stream?filter=@above&limit=20&unit=%C2%B0C")
	card := in.stream(ctx, "/api/stream?filter=@card&domain=sensor&entity_id=sensor.yard*")
	inside := in.stream(ctx, "/api/stream?filter=@inside&area=60.1,24.8%3B60.3,24.8%3B60.2,25.1")

	set("sensor.yard", "19.96", `"unit_of_measurement":"°C","friendly_name":"Yard"`)
	set("sensor.yard", "20.31", `"unit_of_measurement":"°C","friendly_name":"Yard"`)
	set("sensor.yard_humidity", "45", `"unit_of_measurement":"%"`)
	set("sensor.yard", "unknown", "")
	set("sensor.yard", "30", `"unit_of_measurement":"°C"`)
	nextStates(t, "above", above, "sensor.yard 20.31", "sensor.yard_humidity 45", "sensor.yard 30")
	nextStates(t, "above in °C", celsius, "sensor.yard 20.31", "sensor.yard 30")
	for _, want := range []string{
		`{"id":"sensor.yard","name":"Yard","value":20,"unit":"°C","rising":false}`,
		`{"id":"sensor.yard","name":"Yard","value":20.3,"unit":"°C","rising":true}`,
		`{"id":"sensor.yard_humidity","name":"sensor.yard_humidity","value":45,"unit":"%","rising":false}`,
		`{"id":"sensor.yard","name":"sensor.yard","value":30,"unit":"°C","rising":false}`,
	} {
		if got := next(t, "card", card); got.raw != want {
			t.Errorf("card: got %s, want %s", got.raw, want)
		}
	}

	set("device_tracker.cat", "away", `"latitude":60.0,"longitude":25`)
	set("device_tracker.cat", "near", `"latitude":60.2,"longitude":25`)
	set("device_tracker.dog", "lost", `"latitude":"far"`)
	set("device_tracker.dog", "found", `"latitude":60.21,"longitude":24.9`)
	nextStates(t, "inside", inside, "device_tracker.cat near", "device_tracker.dog found")
}

// next returns the next event of a stream; a filter's error fails the test.
func next(t *testing.T, what string, frames <-chan frame) frame {
	t.Helper()
	f := await(t, frames, what, func(f frame) bool { return strings.HasPrefix(f.raw, "{") })
	if f.Event != "" {
		t.Errorf("%s: got event %s %s", what, f.Event, f.raw)
	}
	return f
}

// nextStates expects changes of state, and nothing else between them.
func nextStates(t *testing.T, what string, frames <-chan frame, want ...string) {
	t.Helper()
	for _, w := range want {
		f := next(t, what, frames)
		if id, state := f.entity(); id+" "+state != w {
			t.Errorf("%s: got %s, want %s", what, f.raw, w)
		}
	}
}

// TestLoadtestWithFilters makes a load test of a server of our own with more
// filters than one credential may have by default.
func TestLoadtestWithFilters(t *testing.T) {
	t.Parallel()
	for _, chaos := range []bool{false, true} {
		args := []string{"-streams", "300", "-filters", "150", "-rate", "300", "-duration", "2s", "-settle", "10ms", "-json", filepath.Join(t.TempDir(), "r.json")}
		if chaos {
			args = append(args, "-chaos", "-kill-every", "1s", "-stall-every", "1s", "-stall-max", "1s", "-restart-every", "1s")
		}
		var stdout, stderr bytes.Buffer
		code := runLoadtest(args, &stdout, &stderr)
		t.Log(stdout.String())
		var r struct {
			Published, Delivered, Unasked, Lost int
			Filters                             struct{ Distinct, Errors int }
		}
		if text, err := os.ReadFile(args[len(args)-1]); !chaos && (err != nil || json.Unmarshal(text, &r) != nil) {
			t.Errorf("reading the report: %v", err)
		}
		if code != 0 || !strings.Contains(stdout.String(), "that its filter takes unaltered, once and in order, and no other") {
			t.Errorf("chaos %v: got status %d, %s%s", chaos, code, stdout.String(), stderr.String())
		}
		// 540 events are for one filter, which two streams have; 60 for 15 of them.
		if !chaos && (r.Published != 600 || r.Delivered != 540*2+60*30 || r.Filters.Distinct != 150 || r.Filters.Errors != 0) {
			t.Errorf("got %+v, want 600 events, %d deliveries", r, 540*2+60*30)
		}
	}
}
