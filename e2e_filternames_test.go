package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// A namedHome is a served home with named filters, and a stream that is told of
// them.
type namedHome struct {
	*instance
	told <-chan frame
}

func serveNamed(t *testing.T, files map[string]string) *namedHome {
	t.Helper()
	home := newHome(t, nil)
	for name, text := range files {
		write(t, filepath.Join(home, "filters", name), text)
	}
	h := &namedHome{instance: serve(t, home, "-listen", "127.0.0.1:0")}
	h.told = h.stream(t.Context(), "/api/stream?type=filter_loaded,filter_failed,filter_removed")
	await(t, h.told, "the first ping", func(f frame) bool { return f.raw == "ping" })
	return h
}

// save writes a file and returns what is told of it.
func (h *namedHome) save(name, text string) frame {
	h.t.Helper()
	write(h.t, filepath.Join(h.home, "filters", name), text)
	return await(h.t, h.told, "what became of "+name, func(f frame) bool { return f.Type == "filter_loaded" || f.Type == "filter_failed" })
}

func (h *namedHome) list() (rows []filterStatus) {
	h.t.Helper()
	if err := json.Unmarshal([]byte(h.do("GET", "/api/filters", "")), &rows); err != nil {
		h.t.Fatal(err)
	}
	return rows
}

// Streams with a named filter follow its versions, each at an exact sequence,
// while events come without a pause.
func TestNamedFilterReload(t *testing.T) {
	t.Parallel()
	h := serveNamed(t, map[string]string{"half.js": "// half of them\nexport default (e, params) => e.type === 'tick' && e.data.n % 2 === params.rest;\n"})
	const streams = 6
	var open [streams]<-chan frame
	for i := range open {
		open[i] = h.stream(t.Context(), fmt.Sprintf("/api/stream?filter=@half&rest=%d&color=red", i%2))
		await(t, open[i], "the first ping", func(f frame) bool { return f.raw == "ping" })
	}
	stop := make(chan struct{})
	var firing sync.WaitGroup
	firing.Go(func() {
		for n := 0; ; n++ {
			select {
			case <-stop:
				h.do("POST", "/api/events/end", "")
				return
			default:
				h.do("POST", "/api/events/tick", fmt.Sprintf(`{"n":%d}`, n))
			}
		}
	})
	versions := []string{
		"(e, params) => e.type === 'end' || e.type === 'tick' && e.data.n % 2 !== params.rest",
		"(event, { rest }) => event.type === 'end' || event.type === 'tick' && event.data.n % 2 === rest",
		"(e, params) => { for (const t of ['end', 'tick']) if (e.type === t) return t === 'end' || e.data.n % 2 !== params.rest; }",
		"(e, params) => e.type === 'end' || e.type === 'tick' && e.data.n % 2 === params.rest",
	}
	for i, text := range versions {
		if f := h.save("half.js", text); f.Type != "filter_loaded" || f.Data["filter"] != "half" || f.Data["generation"] != float64(i+2) {
			t.Errorf("got %s, want generation %d loaded", f.raw, i+2)
		}
		eventually(t, fmt.Sprintf("all streams have version %d", i+2), func() bool {
			return strings.Count(h.do("GET", "/api/streams", ""), fmt.Sprintf(`"filter":"@half@%d `, i+2)) == streams
		})
	}
	rows := h.list()
	if len(rows) != 1 || rows[0].Name != "half" || rows[0].Generation != 5 || rows[0].Tier != "native" || rows[0].Streams != streams || rows[0].Error != nil {
		t.Errorf("got %+v, want half at 5, native, with %d streams", rows, streams)
	}
	close(stop)
	firing.Wait()
	for i := range open {
		checkHalves(t, open[i], i%2, len(versions)+1)
	}
}

// checkHalves holds a stream against the versions, which take every second tick
// in turn: even ones, or odd ones if rest is 1, first. Where they change, at most
// one tick that both sides leave out can lie between two.
func checkHalves(t *testing.T, frames <-chan frame, rest, versions int) {
	t.Helper()
	version, last := 1, -1
	changed := false
	for {
		f := await(t, frames, "the end", func(f frame) bool { return f.Type != "" || strings.HasPrefix(f.raw, "filter @") })
		if f.Type == "end" {
			break
		}
		if f.Type == "" {
			version++
			changed = true
			if f.raw != fmt.Sprintf("filter @half@%d", version) {
				t.Fatalf("got comment %q, want version %d named", f.raw, version)
			}
			continue
		}
		n := int(f.Data["n"].(float64))
		step := n - last
		switch {
		case n%2 != (rest+version-1)%2:
			t.Fatalf("version %d: got %d, want the other half", version, n)
		case changed && last >= 0 && step != 1 && step != 3, !changed && last >= 0 && step != 2:
			t.Fatalf("version %d: got %d behind %d (changed in between: %v)", version, n, last, changed)
		}
		last, changed = n, false
	}
	if version != versions {
		t.Errorf("got %d versions, want %d", version, versions)
	}
}

// A broken save leaves the version before it in use, and says so; a file that is
// removed leaves its streams what they have.
func TestNamedFilterBrokenAndRemoved(t *testing.T) {
	t.Parallel()
	h := serveNamed(t, map[string]string{
		"above.js": "(e, params) => e.number > params.limit", "_part.js": "not (JavaScript", "broken.js": "e => {\n  return e.x +\n}\n",
	})
	frames := h.stream(t.Context(), "/api/stream?filter=@above&limit=20")
	await(t, frames, "the first ping", func(f frame) bool { return f.raw == "ping" })
	set := func(state string) {
		t.Helper()
		h.do("POST", "/api/states/sensor.x", `{"state":"`+state+`"}`)
	}
	next := func(want string) {
		t.Helper()
		if _, state := await(t, frames, "state "+want, func(f frame) bool { return f.Type == "state_changed" }).entity(); state != want {
			t.Errorf("got state %s, want %s", state, want)
		}
	}
	f := h.save("above.js", "(e, params) =>\n  e.number >> && params.limit")
	if f.Type != "filter_failed" || f.Data["file"] != "above.js" || f.Data["line"] != 2.0 || f.Data["still_in_use"] != "@above@1" {
		t.Errorf("got %s, want the failure in line 2", f.raw)
	}
	set("19")
	set("21")
	next("21")
	rows := h.list()
	if len(rows) != 2 || rows[0].File != "above.js" || rows[0].Generation != 1 || rows[0].Streams != 1 || !strings.Contains(fmt.Sprint(rows[0].Error), "line:2") {
		t.Errorf("got %+v, want above.js in use, with an error in line 2", rows)
	}
	if rows[1].File != "broken.js" || rows[1].Generation != 0 || rows[1].Error == nil {
		t.Errorf("got %+v, want broken.js without a version", rows[1])
	}
	for filter, want := range map[string]string{
		"@broken": "@broken is broken, and there was no version before: broken.js:3", "@_part": "there are @above.", "@": "there are @above.", "@Above": "there are @above.",
	} {
		if status, text := h.request("GET", filtered("/api/stream", filter), ""); status != 400 || !strings.Contains(text, want) {
			t.Errorf("%s: got %d %s, want 400 with %s", filter, status, text, want)
		}
	}
	if err := os.Remove(filepath.Join(h.home, "filters", "above.js")); err != nil {
		t.Fatal(err)
	}
	await(t, frames, "the comment", func(f frame) bool { return f.raw == "filter @above is removed; this stream keeps @above@1" })
	await(t, h.told, "the removal", func(f frame) bool { return f.Type == "filter_removed" && f.Data["filter"] == "above" })
	set("22")
	next("22")
	if status, text := h.request("GET", filtered("/api/stream", "@above"), ""); status != 400 || !strings.Contains(text, "nor any other") {
		t.Errorf("got %d %s, want 400", status, text)
	}
	h.save("above.js", "(e, params) => e.number > 2 * params.limit")
	await(t, frames, "the next version", func(f frame) bool { return f.raw == "filter @above@2" })
	set("39")
	set("41")
	next("41")
	h.save("above.js", "(e, params) => e.number > params.limit && params.limit.length.x")
	await(t, frames, "what it threw", func(f frame) bool { set("100"); set("50"); return f.Event == "filter_error" })
}

// TypeScript loses its types, and its mistakes are told with their places; of
// two files with one name the JavaScript one is used.
func TestNamedFilterTypeScript(t *testing.T) {
	t.Parallel()
	const good = "interface Params { limit: number }\n\nexport default (e: any, params: Params): boolean =>\n  (e.number as number) > params.limit;\n"
	h := serveNamed(t, map[string]string{"above.ts": good})
	frames := h.stream(t.Context(), "/api/stream?filter=@above&limit=20")
	await(t, frames, "the first ping", func(f frame) bool { return f.raw == "ping" })
	h.do("POST", "/api/states/sensor.x", `{"state":"21"}`)
	await(t, frames, "the event", func(f frame) bool { return f.Type == "state_changed" })
	for _, c := range []struct {
		text         string
		line, column float64
	}{
		{"interface P { a: }\ne => e", 1, 18},
		{"type P = { limit: number };\n\nexport default (e: any, p: P) =>\n  e.number! > p.limit && e.", 4, 28},
		{"type P = { limit: number };\n\nexport default (e: any, p: P) =>\n  (e.number as number) > p.limit && import('x')", 4, 37},
	} {
		f := h.save("above.ts", c.text)
		if f.Type != "filter_failed" || f.Data["line"] != c.line || f.Data["column"] != c.column || f.Data["still_in_use"] != "@above@1" {
			t.Errorf("%s: got %s, want the failure at %v:%v", c.text, f.raw, c.line, c.column)
		}
	}
	h.save("above.ts", good+"// again\n")
	f := h.save("above.js", "e => e.number > 30")
	if f.Type != "filter_failed" || f.Data["file"] != "above.ts" {
		t.Errorf("got %s, want above.ts told to be shadowed", f.raw)
	}
	await(t, frames, "the other file", func(f frame) bool { return f.raw == "filter @above@3" })
	if rows := h.list(); len(rows) != 2 || rows[0].File != "above.js" || rows[1].File != "above.ts" || rows[1].Error == nil {
		t.Errorf("got %+v, want above.js and, with an error, above.ts", rows)
	}
	if err := os.Remove(filepath.Join(h.home, "filters", "above.js")); err != nil {
		t.Fatal(err)
	}
	await(t, frames, "the first file again", func(f frame) bool { return f.raw == "filter @above@4" })
}

// A stream with a named filter comes back to a server that was killed, also to
// the version that was saved meanwhile.
func TestNamedFilterOverRestart(t *testing.T) {
	t.Parallel()
	h := serveNamed(t, map[string]string{"some.js": "(e, params) => e.type === 'tick' && e.data.n % params.of === 0"})
	const path = "/api/stream?filter=@some&of=3&since="
	for n := range 10 {
		h.do("POST", "/api/events/tick", fmt.Sprintf(`{"n":%d}`, n))
	}
	frames := h.stream(t.Context(), path+"0")
	var last frame
	for _, n := range []float64{0, 3, 6, 9} {
		if last = await(t, frames, "a tick", func(f frame) bool { return f.Type != "" }); last.Data["n"] != n {
			t.Errorf("got %s, want tick %v", last.raw, n)
		}
	}
	h.signal(syscall.SIGKILL)
	write(t, filepath.Join(h.home, "filters", "some.js"), "(e, params) => e.type === 'tick' && e.data.n % params.of === 1")
	again := serve(t, h.home, "-listen", "127.0.0.1:0")
	for n := 10; n < 20; n++ {
		again.do("POST", "/api/events/tick", fmt.Sprintf(`{"n":%d}`, n))
	}
	frames = again.stream(t.Context(), path+last.ID)
	for _, n := range []float64{10, 13, 16, 19} {
		if f := await(t, frames, "a tick", func(f frame) bool { return f.Type != "" }); f.Data["n"] != n {
			t.Errorf("got %s, want tick %v", f.raw, n)
		}
	}
}

// A named filter of full JavaScript may be used by anyone; its errors, also
// those of its new version, are told in band.
func TestNamedFilterOfFullJavaScript(t *testing.T) {
	t.Parallel()
	h := serveNamed(t, map[string]string{"busy.js": "const seen = new Map();\nexport default e => { const n = (seen.get(e.type) ?? 0) + 1; seen.set(e.type, n); return n % 2 === 1; };\n"})
	if rows := h.list(); len(rows) != 1 || rows[0].Tier != "worker" {
		t.Fatalf("got %+v, want a filter of the workers", rows)
	}
	frames := h.stream(t.Context(), "/api/stream?type=tick&filter=@busy")
	await(t, frames, "the first ping", func(f frame) bool { return f.raw == "ping" })
	for n := range 4 {
		h.do("POST", "/api/events/tick", fmt.Sprintf(`{"n":%d}`, n))
	}
	for _, n := range []float64{0, 2} {
		if f := await(t, frames, "a tick", func(f frame) bool { return f.Type != "" }); f.Data["n"] != n {
			t.Errorf("got %s, want tick %v", f.raw, n)
		}
	}
	h.save("busy.js", "e => { for (;;) if (e.data.n < 100) return true; }")
	await(t, frames, "the version", func(f frame) bool { return f.raw == "filter @busy@2" })
	h.do("POST", "/api/events/tick", `{"n":100}`)
	awaitFor(t, frames, "the quarantine", 30*time.Second, func(f frame) bool { return f.Event == "filter_error" && strings.Contains(f.raw, "quarantine") })
	eventually(t, "the list tells of the quarantine", func() bool { rows := h.list(); return len(rows) == 1 && rows[0].Quarantine != "" })
	if status, text := h.bearer(testToken, "GET", "/api/events/poll?filter=@busy", ""); status != 503 || !strings.Contains(text, "quarantine") {
		t.Errorf("a poll with it: got %d %s, want 503 for now", status, text)
	}
	if err := os.Remove(filepath.Join(h.home, "filters", "busy.js")); err != nil {
		t.Fatal(err)
	}
	await(t, frames, "the removal", func(f frame) bool { return f.raw == "filter @busy is removed; this stream keeps @busy@2" })
	h.save("busy.js", "e => { for (;;) return true; }")
	await(t, frames, "the next version", func(f frame) bool { return f.raw == "filter @busy@3" })
	h.do("POST", "/api/events/tick", `{"n":101}`)
	await(t, frames, "a tick of the third version", func(f frame) bool { return f.Data["n"] == 101.0 })
	eventually(t, "only the third version is left", func() bool { return h.filtersLeft("worker") == 1 })
}
