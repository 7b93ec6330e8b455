package httpd

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/url"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	"carillon/internal/sse"
)

func TestFilterParams(t *testing.T) {
	const most = 1000
	long, many, odd := strings.Repeat("x", most+1), url.Values{}, url.Values{"filter": {"@a"}}
	many.Set("filter", "@a")
	for i := range maxParams + 1 {
		many.Set(fmt.Sprintf("p%d", i), "1")
	}
	odd["a\x00b"], odd["ok"] = []string{"1"}, []string{"x\xffy"}
	for _, c := range []struct {
		query, body string
		further     []string
		want        FilterSpec
		wrong       string
	}{
		{query: "domain=light"},
		{query: "filter=", want: FilterSpec{}},
		{query: "filter=%20e+%3D%3E%20e.x%0A", want: FilterSpec{Source: "e => e.x"}},
		{query: "filter=e.x&limit=20", want: FilterSpec{Source: "e.x"}},
		{query: "filter=e.x&params.limit=20", want: FilterSpec{Source: "e.x", Params: map[string]any{"limit": 20.0}}},
		{query: "filter=@a&limit=20&on=true&off=false&n=-1.5e3&text=020&big=1e999&none=&domain=light&params.domain=sun&token=secret&_=17",
			want: FilterSpec{Source: "@a", Params: map[string]any{"limit": 20.0, "on": true, "off": false, "n": -1500.0, "text": "020", "big": "1e999", "none": "", "domain": "sun"}}},
		{query: "filter=@a&limit=20&wait=5", further: pollParams, want: FilterSpec{Source: "@a"}},
		{query: "filter=@a&utm-source=x&__proto__=y&1a=z", want: FilterSpec{Source: "@a"}},
		{body: `{"filter":"@a","params":{"limit":20,"name":"20","on":false},"other":1}`,
			want: FilterSpec{Source: "@a", Params: map[string]any{"limit": 20.0, "name": "20", "on": false, "other": 1.0}}},
		{body: "filter=@a&limit=3", want: FilterSpec{Source: "@a", Params: map[string]any{"limit": 3.0}}},

		{query: "filter=a&filter=b", wrong: "is given 2 times"},
		{query: "filter=" + long, wrong: "more than 1000 (limits.filter_bytes)"},
		{query: "filter=%ff", wrong: "no UTF-8"},
		{query: "filter=@a&x=1&x=2", wrong: "has x more than once"},
		{query: "filter=@a&x=1&params.x=2", wrong: "has x more than once"},
		{query: "filter=@a&params.=2", wrong: `has "", which is no name`},
		{query: "filter=@a&params.__proto__=2", wrong: "is no name"},
		{query: "filter=@a&params.a%00b=2", wrong: `"a\x00b", which is no name`},
		{query: "filter=@a&params." + strings.Repeat("n", maxParam+1) + "=2", wrong: "is no name"},
		{query: "filter=@a&x=" + long, wrong: "more than 64 or 1000"},
		{query: many.Encode(), wrong: "has 65 parameters"},
		{query: odd.Encode(), wrong: "has ok, which is no UTF-8"},
		{body: `{"filter":["e"," => e"]}`, wrong: "is given 2 times"},
		{body: `{"filter":{}}`, wrong: "filter must be a string"},
		{body: `{"filter":"@a","params":[1]}`, wrong: "must be one object"},
		{body: `{"filter":"@a","params":{"x":{"y":1}}}`, wrong: `has "x", which must be a string`},
		{body: `{"filter":"@a","params":{"x":null}}`, wrong: `has "x", which must be a string`},
		{body: `{"filter":"@a","params":{"a-b":1}}`, wrong: `has "a-b", which is no name`},
		{body: `{"filter":"@a","params":{"x":"` + long + `"}}`, wrong: "more than 1000 (limits.filter_bytes)"},
	} {
		p := params{}
		values, err := url.ParseQuery(c.query)
		if err != nil {
			t.Fatal(err)
		}
		maps.Copy(p, values)
		err = p.addBody([]byte(c.body))
		var got *FilterSpec
		if err == nil {
			got, err = p.filter(most, c.further...)
		}
		switch {
		case c.wrong != "":
			if err == nil || !strings.Contains(err.Error(), c.wrong) {
				t.Errorf("%.80s%.80s: got %v, want %s", c.query, c.body, err, c.wrong)
			}
		case err != nil:
			t.Errorf("%s%s: got %v", c.query, c.body, err)
		case got == nil:
			if c.want.Source != "" {
				t.Errorf("%s%s: got no filter, want %v", c.query, c.body, c.want)
			}
		case !reflect.DeepEqual(*got, c.want):
			t.Errorf("%s%s: got %v, want %v", c.query, c.body, *got, c.want)
		}
	}
}

func FuzzFilterParams(f *testing.F) {
	f.Add("@a", "limit", "20", `{"params":{"x":1}}`)
	f.Add("e => e", "params.\xff", "\x00", `{"filter":1,"params":"{"}`)
	f.Fuzz(func(t *testing.T, source, name, value, body string) {
		p := params{"filter": {source}, name: {value}}
		if p.addBody([]byte(body)) != nil {
			return
		}
		spec, err := p.filter(100)
		if spec == nil || err != nil {
			return
		}
		if len(spec.Source) > 100 || len(spec.Params) > maxParams {
			t.Errorf("got %v, beyond the limits", spec)
		}
		for name, value := range spec.Params {
			if _, err := json.Marshal(map[string]any{name: value}); err != nil || !identifier(name) {
				t.Errorf("got parameter %q of %v and %v, want one that can be written", name, value, err)
			}
		}
	})
}

// startRules serves a home whose filters are rules.
func startRules(t *testing.T, settings Settings) (*home, *rules) {
	r := &rules{}
	return startHome(t, settings, func(s *Server) { r.use(s) }), r
}

func TestFilteredStream(t *testing.T) {
	h, r := startRules(t, Settings{})
	stream := h.open("/api/stream?filter=light.")
	given := h.openRequest("POST", "/api/stream?format=native", `{"filter":"light.a give"}`, "X-HA-Access: "+testToken)
	slow := h.open("/api/stream?domain=sensor&filter=slow+sensor.")
	for _, s := range []*streamClient{stream, given, slow} {
		s.moved()
	}
	for _, id := range []string{"light.a", "sensor.x", "light.b", "sensor.y", "light.a"} {
		h.set(id, fmt.Sprint(time.Now().UnixNano()), "{}")
	}
	for _, want := range []string{"light.a", "light.b", "light.a"} {
		if id, _ := entityOf(t, stream.message()); id != want {
			t.Errorf("got %s, want %s", id, want)
		}
	}
	for range 2 {
		f := given.message()
		if !strings.Contains(f.data, `"entity_id":"light.a"`) || !strings.HasSuffix(f.data, `"data":{"gave":"light.a"}}`) || f.event != "state_changed" {
			t.Errorf("got %v, want an envelope with the projection", f)
		}
	}
	for _, want := range []string{"sensor.x", "sensor.y"} {
		if id, _ := entityOf(t, slow.message()); id != want {
			t.Errorf("got %s, want %s", id, want)
		}
	}
	h.ask("GET", "/api/streams", "").want(t, "streams", 200, `"selection":{"domain":["sensor"],"filter":"slow sensor."}`)
	h.ask("GET", "/api/filters", "").want(t, "filters", 200, `{"light.":1,"light.a give":1,"slow sensor.":1}`)
	for _, s := range []*streamClient{stream, given, slow} {
		s.conn.Close()
	}
	h.waitFor("the filters to be gone", func() bool { return r.count() == 0 })
	h.waitFor("nothing to be counted", func() bool { return h.server.tenants.counted() == 0 })
}

// What a filter gives stands alone in ha and flat, and as the data in the others.
func TestProjectionInEachFormat(t *testing.T) {
	h, _ := startRules(t, Settings{})
	h.set("light.a", "on", "{}")
	streams := map[string]*streamClient{}
	for _, format := range formatNames {
		streams[format] = h.open("/api/stream?snapshot=1&filter=light.+give&format=" + format)
	}
	const alone = `{"gave":"light.a"}`
	for i, what := range []string{"snapshot", "live"} {
		for format, stream := range streams {
			f := stream.message()
			for f.event == greetingEvent || strings.Contains(f.data, `"connection"`) {
				f = stream.message()
			}
			switch whole := format == formatNative || format == formatCloudEvents; {
			case whole && !strings.HasSuffix(f.data, `"data":`+alone+`}`), !whole && f.data != alone:
				t.Errorf("%s, %s: got %s", format, what, f.data)
			}
			if !json.Valid([]byte(f.data)) {
				t.Errorf("%s, %s: %s is no JSON", format, what, f.data)
			}
		}
		if i == 0 {
			h.set("light.a", "off", "{}")
		}
	}
	for format, want := range map[string]string{
		"ha": `{"events":[` + alone + `,` + alone + `],`, "native": `"data":` + alone + `},{"id":`,
	} {
		h.ask("GET", "/api/events/poll?since="+testEpoch+"-0&filter=light.+give&format="+format, "").want(t, format, 200, want)
	}
	h.ask("GET", "/api/events/poll?snapshot=1&filter=light.+give", "").want(t, "snapshot", 200, `{"events":[`+alone+`],`)
}

func TestFilterRefused(t *testing.T) {
	h, r := startRules(t, Settings{MaxFilter: 200})
	const told = `{"message":"Parameter filter: 1:5: wrong is not right.","line":1,"column":5,"construct":"wrong"}`
	stream := h.open("/api/stream")
	for _, path := range []string{"/api/stream", "/subscribe_events", "/api/events/poll"} {
		for _, answer := range []answer{h.ask("GET", path+"?filter=all+wrong", ""), h.ask("POST", path, `{"filter":"all wrong"}`)} {
			if answer.status != 400 || answer.body != told {
				t.Errorf("%s: got %d %s, want 400 %s", path, answer.status, answer.body, told)
			}
		}
		h.ask("POST", path, `{"filter":"`+strings.Repeat("x", 201)+`"}`).want(t, path, 400, "limits.filter_bytes")
		h.ask("POST", path, `{"filter":"`+strings.Repeat("x", 2<<20)+`"}`).want(t, path, 413, "larger than")
	}
	h.ask("POST", "/api/stream/"+stream.id(), "filter=all+wrong").want(t, "a change", 400, told)
	h.ask("POST", "/api/filters/explain", "filter=").want(t, "explain", 400, "filter is missing")
	if n := r.count(); n != 0 {
		t.Errorf("got %d filters, want none", n)
	}
	plain := startHome(t, Settings{}, nil)
	plain.ask("GET", "/api/stream?filter=x", "").want(t, "without filters", 400, "not supported")
}

func TestFilterErrorsOfSnapshotsAndPolls(t *testing.T) {
	h, _ := startRules(t, Settings{})
	h.set("light.a", "on", "{}")
	h.set("light.b", "on", "{}")
	const told = `{"id":"epochone-2","message":"thrown at light.a","errors":2,"filter":"light. throw"}`
	stream := h.open("/api/stream?snapshot=1&gaps=data&filter=light.+throw")
	for _, want := range []frame{{data: `{"event_type":"filter_error","data":` + told + `}`}, {event: "filter_error", data: told}} {
		if f := stream.message(); f.data != want.data || f.event != want.event || f.hasID {
			t.Errorf("got %v, want %v", f, want)
		}
	}
	stream.moved()
	h.ask("GET", "/api/events/poll?filter=light.+throw&snapshot=1", "").want(t, "snapshot", 200, `"reset":null,"filter_error":`+told+`}`)
	h.ask("GET", "/api/events/poll?filter=light.+throw&since="+testEpoch+"-0", "").
		want(t, "past", 200, `{"events":[],"next":"epochone-2","head":"epochone-2","gap":null,"reset":null,"filter_error":{"id":"epochone-1"`)
	h.ask("GET", "/api/events/poll?filter=light.&since="+testEpoch+"-0", "").want(t, "no error", 200, `"reset":null}`)
}

func TestFilteredPollWaits(t *testing.T) {
	h, r := startRules(t, Settings{})
	got := make(chan answer, 1)
	go func() { got <- h.ask("GET", "/api/events/poll?wait=10&limit=1&filter=slow+light.", "") }()
	h.waitFor("the poll", func() bool { return h.ask("GET", "/metrics", "").has("carillon_polls_waiting 1") })
	for _, id := range []string{"sensor.x", "light.a", "light.b"} {
		h.set(id, "on", "{}")
	}
	a := <-got
	a.want(t, "poll", 200, `"entity_id":"light.a"`)
	if strings.Contains(a.body, "light.b") || strings.Contains(a.body, "sensor.x") {
		t.Errorf("got %s, want the first of the selection", a.body)
	}
	if n := r.count(); n != 0 {
		t.Errorf("got %d filters behind the poll, want none", n)
	}
}

func (a answer) has(part string) bool { return strings.Contains(a.body, part) }

// Different filters of a credential are bounded; the same ones count once, and
// each credential for itself.
func TestFiltersPerCredential(t *testing.T) {
	h, r := startRules(t, Settings{MaxFiltersPerCredential: 2, Retry: time.Millisecond})
	refused := func(s *streamClient) bool {
		for _, f := range s.ends() {
			if f.kind == sse.Message {
				t.Errorf("got %v of a stream that has no place", f)
			}
		}
		return strings.Contains(s.head, "200 OK")
	}
	a, again, b := h.open("/api/stream?filter=a"), h.open("/api/stream?filter=a"), h.open("/api/stream?filter=b")
	for _, s := range []*streamClient{a, again, b} {
		s.moved()
	}
	if s := h.open("/api/stream?filter=c"); !refused(s) {
		t.Errorf("got %s, want a time to come back", s.head)
	}
	h.ask("GET", "/api/events/poll?filter=c", "").want(t, "poll", 429, "Too many different filters")
	h.ask("POST", "/api/stream/"+b.id(), "filter=c").want(t, "change", 429, "Too many different filters")
	h.ask("GET", "/metrics", "").want(t, "metrics", 200, `carillon_http_refused_total{reason="too_many_filters"} 3`)

	h.ask("POST", "/api/stream/"+b.id(), "filter=a").want(t, "a change to one that is there", 200, `"filter":"a"`)
	c := h.open("/api/stream?filter=c")
	c.moved()
	a.conn.Close()
	again.conn.Close()
	h.waitFor("only b's new one and c", func() bool { return r.count() == 2 })
	h.ask("GET", "/api/events/poll?filter=d", "").want(t, "poll", 429, "Too many different filters")
	b.conn.Close()
	h.waitFor("a's end", func() bool { return h.ask("GET", "/api/events/poll?filter=d", "").status == 200 })
}

func TestWhoMayUseAllOfJavaScript(t *testing.T) {
	h, r := startRules(t, Settings{JWTKeys: []JWTKey{{Algorithm: "HS256", Key: []byte(testSecret)}}, FullJavaScript: []string{"panel"}})
	for subject, want := range map[string]FilterSpec{
		"":      {Credential: "administrator", Full: true},
		"panel": {Credential: "jwt:panel", Full: true},
		"guest": {Credential: "jwt:guest"},
	} {
		credential := "X-HA-Access: " + testToken
		if subject != "" {
			credential = "X-HA-Access: " + signed(t, subject)
		}
		h.askBare("GET", "/api/events/poll?filter=x", "", credential).want(t, subject, 200, "")
		h.askBare("POST", "/api/filters/explain", `{"filter":"x"}`, credential).want(t, subject, 200, fmt.Sprintf(`"full":%v`, want.Full))
		want.Source = "x"
		if got := r.specs[len(r.specs)-1]; !reflect.DeepEqual(got, want) {
			t.Errorf("%s: got %v, want %v", subject, got, want)
		}
	}
}

// Snapshots, polls of the past and changes that wait for a slow filter keep only
// their like waiting.
func TestSlowFilterDelaysOnlyItself(t *testing.T) {
	h, r := startRules(t, Settings{})
	h.set("light.a", "on", "{}")
	quick, held := h.open("/api/stream"), h.open("/api/stream")
	quick.moved()
	r.mu.Lock()
	r.block = make(chan struct{})
	r.mu.Unlock()
	free := sync.OnceFunc(func() { close(r.block) })
	defer free()
	for range maxOpenings + maxReadings + 1 {
		conn := h.dial()
		fmt.Fprintf(conn, "GET /api/stream?snapshot=1&filter=slow HTTP/1.1\r\nHost: x\r\nX-HA-Access: %s\r\n\r\n", testToken)
		conn = h.dial()
		fmt.Fprintf(conn, "GET /api/events/poll?since=%s-0&filter=slow+x HTTP/1.1\r\nHost: x\r\nX-HA-Access: %s\r\n\r\n", testEpoch, testToken)
	}
	changed := make(chan answer, 1)
	go func() { changed <- h.ask("POST", "/api/stream/"+held.id(), "filter=slow") }()
	h.waitFor("slow snapshots", func() bool { return len(h.server.openings.slow) == maxOpenings })
	began := time.Now()
	h.open("/api/stream?snapshot=1&filter=light.").message()
	h.ask("GET", "/api/events/poll?since="+testEpoch+"-0&filter=light.", "").want(t, "a poll", 200, "light.a")
	h.reselect(quick.id(), "filter=light.")
	if took := time.Since(began); took > 20*time.Second {
		t.Errorf("others waited %v for a slow filter", took)
	}
	free()
	if a := <-changed; a.status != 200 && a.status != 429 {
		t.Errorf("got %d %s of the change that waited", a.status, a.body)
	}
}

func TestRetryChangesWhileStreamsAreOpen(t *testing.T) {
	h := startHome(t, Settings{Retry: time.Second}, nil)
	stream := h.open("/api/stream")
	stream.moved()
	h.server.SetSettings(Settings{Retry: 20 * time.Second, Drain: 10 * time.Millisecond})
	h.stop()
	var retry time.Duration
	for _, f := range stream.ends() {
		if f.kind == sse.Retry {
			retry = f.retry
		}
	}
	if retry < 20*time.Second || retry > 40*time.Second {
		t.Errorf("got %v to come back after, want 20 to 40 s", retry)
	}
}
