package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

// filtered returns the address of a stream with a filter.
func filtered(path, filter string, more ...string) string {
	if !strings.Contains(path, "?") {
		path += "?"
	}
	return path + "&filter=" + url.QueryEscape(filter) + strings.Join(more, "")
}

// An inline filter's stream gets just its events: live, and what it missed while
// the server was killed.
func TestFilterOverRestart(t *testing.T) {
	t.Parallel()
	home := newHome(t, nil)
	in := serve(t, home, "-listen", "127.0.0.1:0")
	const filter = `e => e.type === 'count' && e.data.n % 3 === 0 && e.data.odd?.deep !== "x"`
	path := filtered("/api/stream", filter)
	frames := in.stream(t.Context(), path)
	await(t, frames, "the first ping", func(f frame) bool { return f.raw == "ping" })
	fired, next := 0, 0
	fire := func(in *instance, n int) {
		for range n {
			in.do("POST", "/api/events/count", fmt.Sprintf(`{"n":%d}`, fired))
			in.do("POST", "/api/events/other", `{"n":0}`)
			fired++
		}
	}
	at := ""
	take := func(frames <-chan frame, upTo int) {
		t.Helper()
		for next < upTo {
			f := await(t, frames, fmt.Sprint("event ", next), func(f frame) bool { return f.Type != "" })
			if f.Type != "count" || f.Data["n"] != float64(next) {
				t.Fatalf("got %s, want event %d", f.raw, next)
			}
			next += 3
			at = f.ID
		}
	}
	fire(in, 10)
	take(frames, 9)
	fire(in, 10)
	in.signal(syscall.SIGKILL)
	again := serve(t, home, "-listen", "127.0.0.1:0")
	fire(again, 10)
	frames = again.stream(t.Context(), path+"&lastEventId="+at)
	take(frames, 27)
	fire(again, 10)
	take(frames, 39)

	var b batch
	at = again.poll(filtered("", filter)[1:] + "&since=0&limit=3").Next
	if err := json.Unmarshal([]byte(again.do("POST", "/api/events/poll", fmt.Sprintf(`{"filter":%q,"since":%q}`, filter, at))), &b); err != nil {
		t.Fatal(err)
	}
	if len(b.Events) != 11 || b.Events[0].Data["n"] != 9.0 {
		t.Errorf("got %d events from %v, want 11 from 9 on", len(b.Events), b.Events)
	}
}

// What a filter returns as an object comes in place of the event, and what it
// throws is told.
func TestFilterProjectsAndThrows(t *testing.T) {
	t.Parallel()
	in := serve(t, newHome(t, nil), "-listen", "127.0.0.1:0")
	in.do("POST", "/api/states/sensor.t", `{"state":"20.5","attributes":{"unit_of_measurement":"°C"}}`)
	const projection = `e => e.domain === 'sensor' && {t: e.number, unit: e.unit, was: e.old?.number ?? null}`
	frames := in.stream(t.Context(), filtered("/api/stream?snapshot=1", projection))
	await(t, frames, "the snapshot", func(f frame) bool { return f.raw == `{"t":20.5,"unit":"°C","was":null}` })
	throwing := in.stream(t.Context(), filtered("/api/stream", `e => e.attributes.a.b > 1`))
	await(t, throwing, "the first ping", func(f frame) bool { return f.raw == "ping" })
	in.do("POST", "/api/states/sensor.t", `{"state":"21","attributes":{"unit_of_measurement":"K","a":{"b":2}}}`)
	await(t, frames, "the projection", func(f frame) bool { return f.raw == `{"t":21,"unit":"K","was":20.5}` && f.ID != "" })
	await(t, throwing, "the event", func(f frame) bool { return f.Type == "state_changed" })
	in.do("POST", "/api/states/sensor.t", `{"state":"22"}`)
	f := await(t, throwing, "the error", func(f frame) bool { return f.Event == "filter_error" })
	var told struct {
		ID, Message, Filter string
		Errors              int
	}
	if err := json.Unmarshal([]byte(f.raw), &told); err != nil || !strings.Contains(told.Message, "TypeError") || told.Errors != 1 || !strings.HasSuffix(told.ID, "-3") {
		t.Errorf("got %s and %v, want the error of event 3", f.raw, err)
	}
	if metrics := in.do("GET", "/metrics", ""); !strings.Contains(metrics, `carillon_filters{tier="native"} 2`) {
		t.Error("/metrics does not count 2 native filters")
	}
}

// bearer sends a request with a credential of its own and returns status and body.
func (in *instance) bearer(token, method, path, body string) (int, string) {
	in.t.Helper()
	req, err := http.NewRequest(method, in.url+path, strings.NewReader(body))
	if err != nil {
		in.t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+token)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		in.t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		in.t.Fatal(err)
	}
	return resp.StatusCode, string(text)
}

// A filter that is wrong is refused with its place, whoever asks; one that is
// not in the subset runs for the administrator and the subjects that are named.
func TestFilterRefusedAndFull(t *testing.T) {
	t.Parallel()
	home := newHome(t, nil)
	secret := strings.Repeat("s", 32)
	write(t, filepath.Join(home, "secret"), secret)
	write(t, filepath.Join(home, configFile), "auth: {jwt: {hs256_secret_file: secret}}\nfilters: {full_javascript: [panel]}\nlimits: {filter_bytes: 512}\n")
	in := serve(t, home, "-listen", "127.0.0.1:0")
	subject := func(name string) string {
		token, err := jwt.NewWithClaims(jwt.SigningMethodHS256, jwt.MapClaims{"sub": name, "exp": time.Now().Add(time.Hour).Unix()}).SignedString([]byte(secret))
		if err != nil {
			t.Fatal(err)
		}
		return token
	}
	const full = "e => { let n = 0; for (const c of e.type) n++; return n === 5; }"
	for _, c := range []struct {
		token, filter string
		status        int
		want          string
	}{
		{testToken, "e => e.x >", 400, `"line":1,"column":`},
		{subject("guest"), "e => e.x >", 400, `"line":1,"column":`},
		{subject("guest"), full, 400, `"line":1,"column":19,"construct":"for"`},
		{subject("guest"), "e => { while (true) {} }", 400, `"construct":"while"`},
		{subject("panel"), full, 200, `"events":[]`},
		{testToken, full, 200, `"events":[]`},
		{testToken, strings.Repeat("x", 513), 400, "limits.filter_bytes"},
		{testToken, "@nobody", 400, "there is no filter @nobody, nor any other"},
		{testToken, "@../../secret", 400, "there is no filter @../../secret"},
		{testToken, "e =>\x00 e", 400, `"line":1`},
		{testToken, "e =>\r\n// \r\n e.x +", 400, `"line":3`},
		{testToken, "(e, p) => p", 200, `"events":[]`},
		{testToken, "[1]", 200, `"events":[]`},
		{testToken, strings.Repeat("(", 500), 400, `"line":1`},
	} {
		body, err := json.Marshal(map[string]string{"filter": c.filter})
		if err != nil {
			t.Fatal(err)
		}
		for _, ask := range [][3]string{{"POST", "/api/events/poll", string(body)}, {"GET", filtered("/api/events/poll", c.filter), ""}} {
			status, text := in.bearer(c.token, ask[0], ask[1], ask[2])
			if status != c.status || !strings.Contains(text, c.want) {
				t.Errorf("%s %.60q: got %d %s, want %d with %s", ask[0], c.filter, status, text, c.status, c.want)
			}
		}
		if c.status == 400 {
			if status, text := in.bearer(c.token, "GET", filtered("/api/stream", c.filter), ""); status != 400 || !strings.Contains(text, c.want) {
				t.Errorf("stream %.60q: got %d %s, want 400 with %s", c.filter, status, text, c.want)
			}
		}
	}
	eventually(t, "no filter is left", func() bool { return in.filtersLeft("native") == 0 && in.filtersLeft("worker") == 0 })
}

var filterGauge = regexp.MustCompile(`(?m)^carillon_filters\{tier="(\w+)"\} (\d+)$`)

// filtersLeft returns how many filters of a tier the server holds.
func (in *instance) filtersLeft(tier string) int {
	for _, m := range filterGauge.FindAllStringSubmatch(in.do("GET", "/metrics", ""), -1) {
		if m[1] == tier {
			n, _ := strconv.Atoi(m[2])
			return n
		}
	}
	in.t.Fatalf("/metrics does not count filters of tier %s", tier)
	return 0
}

// A filter that no stream uses any more is released, in both tiers; the same one
// counts once.
func TestFiltersAreReleased(t *testing.T) {
	t.Parallel()
	in := serve(t, newHome(t, nil), "-listen", "127.0.0.1:0")
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	for i := range 30 {
		for _, filter := range []string{
			fmt.Sprintf("e => e.data.n === %d", i%10), fmt.Sprintf("event => (event.data['n'] === %d) // the same", i%10),
			fmt.Sprintf("e => { for (;;) return e.data.n === %d }", i%5),
		} {
			frames := in.stream(ctx, filtered("/api/stream", filter))
			await(t, frames, "the first ping", func(f frame) bool { return f.raw == "ping" })
		}
	}
	if native, worker := in.filtersLeft("native"), in.filtersLeft("worker"); native != 10 || worker != 5 {
		t.Errorf("got %d native and %d worker filters, want 10 and 5", native, worker)
	}
	cancel()
	eventually(t, "no filter is left", func() bool { return in.filtersLeft("native") == 0 && in.filtersLeft("worker") == 0 })
}

// A stream's filter is changed while it is open.
func TestChangeFilter(t *testing.T) {
	t.Parallel()
	in := serve(t, newHome(t, nil), "-listen", "127.0.0.1:0")
	for i := range 5 {
		in.do("POST", fmt.Sprintf("/api/states/sensor.s%d", i), fmt.Sprintf(`{"state":"%d"}`, i*10))
	}
	frames := in.stream(t.Context(), filtered("/api/stream?format=native&leave=1", "e => e.number > 25"))
	hello := await(t, frames, "the stream's id", func(f frame) bool { return f.Event == "stream" })
	var id struct{ ID string }
	if err := json.Unmarshal([]byte(hello.raw), &id); err != nil {
		t.Fatal(err)
	}
	answer := in.do("POST", "/api/stream/"+id.ID, `{"filter":"e => e.number < 35"}`)
	if !strings.Contains(answer, `"entered":3`) || !strings.Contains(answer, `"left":1`) {
		t.Errorf("got %s, want 3 in and 1 out", answer)
	}
	await(t, frames, "the leave", func(f frame) bool { return f.Event == "leave" && strings.Contains(f.raw, "sensor.s4") })
	for i := range 3 {
		await(t, frames, "what enters", func(f frame) bool { return strings.Contains(f.raw, fmt.Sprintf(`"entity_id":"sensor.s%d"`, i)) })
	}
	in.do("POST", "/api/states/sensor.s4", `{"state":"36"}`)
	in.do("POST", "/api/states/sensor.s4", `{"state":"34"}`)
	f := await(t, frames, "a change", func(f frame) bool { return f.Event == "state_changed" })
	if !strings.Contains(f.raw, `"state":"34"`) {
		t.Errorf("got %s, want sensor.s4 at 34", f.raw)
	}
	if list := in.do("GET", "/api/streams", ""); !strings.Contains(list, `"filter":"`) {
		t.Errorf("got %s, want the filter", list)
	}
}

// A hostile filter of full JavaScript is told of and put aside, and others go on.
func TestHostileFilter(t *testing.T) {
	t.Parallel()
	in := serve(t, newHome(t, nil), "-listen", "127.0.0.1:0")
	await := func(frames <-chan frame, what string, want func(frame) bool) frame {
		t.Helper()
		return awaitFor(t, frames, what, 30*time.Second, want)
	}
	open := func(filter string) <-chan frame {
		frames := in.stream(t.Context(), filtered("/api/stream", filter))
		await(frames, "the first ping", func(f frame) bool { return f.raw == "ping" })
		return frames
	}
	plain, native := open("e => true"), open("e => e.type === 'tick'")
	full := open("e => { let n = e.data.n; n++; return e.type === 'tick' }")
	hostile := map[string]<-chan frame{
		"loop":   open("e => { if (e.data.bad) for (;;); return true }"),
		"memory": open("e => { if (e.data.bad) { let s = ['x']; for (;;) s = s.concat(s) } return true }"),
		"text":   open("e => { let s = 'x'; if (e.data.bad) s = s.repeat(2 ** 40); return true }"),
	}
	in.do("POST", "/api/events/tick", `{"n":1}`)
	in.do("POST", "/api/events/tick", `{"n":2,"bad":true}`)
	in.do("POST", "/api/events/tick", `{"n":3}`)
	for n := 1.0; n <= 3; n++ {
		for name, frames := range map[string]<-chan frame{"plain": plain, "native": native, "full": full} {
			if f := await(frames, name, func(f frame) bool { return f.Type == "tick" }); f.Data["n"] != n {
				t.Errorf("%s: got %s, want event %v", name, f.raw, n)
			}
		}
	}
	for name, frames := range hostile {
		f := await(frames, name+"'s error", func(f frame) bool { return f.Event == "filter_error" })
		if !strings.Contains(f.raw, "quarantine") && name != "text" {
			t.Errorf("%s: got %s, want to be told of the quarantine", name, f.raw)
		}
	}
	status, text := in.request("GET", filtered("/api/stream", "e => { if (e.data.bad) for (;;); return true }"), "")
	if status != 400 || !strings.Contains(text, "quarantine") {
		t.Errorf("the same again: got %d %s, want 400 for the quarantine", status, text)
	}
	if metrics := in.do("GET", "/metrics", ""); !regexp.MustCompile(`carillon_filter_quarantines_total [23]\n`).MatchString(metrics) {
		t.Error("/metrics does not count the quarantines")
	}
}

func TestExplainFilter(t *testing.T) {
	t.Parallel()
	home := newHome(t, nil)
	write(t, filepath.Join(home, "filters", "above.ts"), "type P = { limit: number };\n\nexport default (e, params: P) =>\n    e.domain === 'sensor' &&\n    e.number > params.limit\n")
	in := serve(t, home, "-listen", "127.0.0.1:0")
	in.do("POST", "/api/states/sensor.a", `{"state":"5"}`)
	in.do("POST", "/api/states/sensor.b", `{"state":"50"}`)
	in.do("POST", "/api/events/tick", ``)
	var x explanation
	explain := func(body string) {
		t.Helper()
		x = explanation{}
		if err := json.Unmarshal([]byte(in.do("POST", "/api/filters/explain", body)), &x); err != nil {
			t.Fatal(err)
		}
	}
	explain(`{"filter":"@above","params":{"limit":20}}`)
	if x.Tier != "native" || x.Filter != `@above@1 {"limit":20}` || x.Cost == 0 || !strings.Contains(x.Index, "sensor") || len(x.Events) != 4 {
		t.Fatalf("got %+v, want a native filter with an index, and 4 events", x)
	}
	var decided []bool
	for _, e := range x.Events {
		decided = append(decided, e.Match)
	}
	if want := []bool{false, false, true, false}; !slices.Equal(decided, want) { // filter_loaded came first
		t.Errorf("got %v, want %v", decided, want)
	}
	if why := x.Events[1].Why; len(why) != 1 || why[0].Line != 5 || why[0].Column != 5 || why[0].Text != "e.number > 20" && why[0].Text != "e.number > params.limit" {
		t.Errorf("got %+v, want the comparison in line 5 of the file", why)
	}
	explain(`{"filter":"e => { for (;;) return e.state === 'on' }","events":[{"entity_id":"light.x","state":"on"},{"event_type":"tick","data":{}},` +
		`{"event_type":"state_changed","data":{"entity_id":"light.y","new_state":{"state":5,"attributes":[]}}}]}`)
	if x.Tier != "worker" || x.Refused == nil || x.Refused.Construct != "for" || len(x.Events) != 3 || !x.Events[0].Match || x.Events[1].Match {
		t.Errorf("got %+v, want a worker's filter that takes the first event", x)
	}
	explain(`{"filter":"true","entity_id":"sensor.b"}`)
	if len(x.Events) != 1 || x.Events[0].EntityID != "sensor.b" {
		t.Errorf("got %+v, want the event of sensor.b", x.Events)
	}
	deep := strings.Repeat(`{"a":`, 5000) + "1" + strings.Repeat("}", 5000)
	for body, want := range map[string]string{
		`{"filter":"true","events":[` + strings.Repeat(`{"type":"x"},`, 100) + `{"type":"x"}]}`: "more than 100",
		`{"filter":"true","events":{}}`:                                       "events",
		`{"filter":"true","events":[{"event_type":"","data":{}}]}`:            "place 1",
		`{"filter":"true","events":[{"event_type":"x","data":` + deep + `}]}`: "levels",
		`{"filter":"true","events":[{"event_type":"x","data":[]}]}`:           "must be a JSON object",
		`{"filter":"true","limit":0}`:                                         "limit",
		`{"filter":"e => e.x >"}`:                                             `"line":1`,
		`{}`:                                                                  "filter is missing",
	} {
		if status, text := in.request("POST", "/api/filters/explain", body); status != 400 || !strings.Contains(text, want) {
			t.Errorf("%.80s: got %d %s, want 400 with %s", body, status, text, want)
		}
	}
}
