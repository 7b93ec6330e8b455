package httpd

import (
	"fmt"
	"net/url"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/valyala/fasthttp"
)

// parseText parses what stands behind the '?' of an address.
func parseText(text, lastEventID string) (query, error) {
	p := params{}
	if err := p.addBody([]byte("&" + text)); err != nil {
		return query{}, err
	}
	return p.query(lastEventID, Settings{}.withDefaults())
}

// canonical writes a query so that equal queries have equal texts.
func canonical(q query) string {
	v := url.Values{}
	add := func(key string, names []string) {
		if len(names) > 0 {
			v.Set(key, strings.Join(names, ","))
		}
	}
	add("type", q.selection.Types)
	add("domain", q.selection.Domains)
	add("entity_id", q.selection.Entities)
	if q.snapshot || q.refrain {
		v.Set("snapshot", fmt.Sprint(q.snapshot))
	}
	if q.padding {
		v.Set("padding", "1")
	}
	if q.maxAge > 0 {
		v.Set("max_age", fmt.Sprintf("%.9f", q.maxAge.Seconds()))
	}
	if q.format != "" {
		v.Set("format", q.format)
	}
	if q.slow != "" {
		v.Set("slow", q.slow)
	}
	if q.gapsData {
		v.Set("gaps", "data")
	}
	if q.leave != unsaid {
		v.Set("leave", fmt.Sprint(q.leave == yes))
	}
	switch q.from.kind {
	case fromID:
		v.Set("lastEventId", fmt.Sprintf("%s-%d", q.from.epoch, q.from.seq))
	case fromUnknown:
		v.Set("lastEventId", "?")
	case fromTime:
		v.Set("since", q.from.at.Format(time.RFC3339Nano))
	}
	return v.Encode()
}

func TestQuery(t *testing.T) {
	for _, c := range []struct{ text, header, want string }{
		{"", "", ""},
		{"type=state", "", "type=state_changed"},
		{"type=b,a&events=c&restrict=a,state", "", "type=a,b,c,state_changed"},
		{"type=b&type=a,,%20a%20", "", "type=a,b"},
		{"type=*&domain=light,switch", "", "domain=light,switch"},
		{"entity_id=light.**,sensor.k*_t&domain=", "", "entity_id=light.*,sensor.k*_t"},
		{"entity_id=*kitchen*", "", "entity_id=*kitchen*"},
		{"snapshot=1&padding=true", "", "padding=1&snapshot=true"},
		{"snapshot=0", "", "snapshot=false"},
		{"max_age=90", "", "max_age=90.000000000"},
		{"format=flat", "", "format=flat"},
		{"format=cloudevents&slow=conflate&gaps=data&leave=1", "", "format=cloudevents&gaps=data&leave=true&slow=conflate"},
		{"slow=&gaps=event&leave=off&wait=x&limit=x", "", "leave=false"},
		{"callback=x&_=123&api_password=secret", "", ""},
		{"since=epochone-7", "", "lastEventId=epochone-7"},
		{"since=1700000000.5", "", "since=2023-11-14T22:13:20.5Z"},
		{"since=2026-01-01T01:00:00%2B01:00", "", "since=2026-01-01T00:00:00Z"},
		{"since=2026-01-01T01:00:00+01:00", "", "since=2026-01-01T00:00:00Z"},
		{"since=a-1&evs_last_event_id=a-2", "", "lastEventId=a-2"},
		{"since=a-1&evs_last_event_id=a-2&last_event_id=a-3", "", "lastEventId=a-3"},
		{"since=a-1&evs_last_event_id=a-2&last_event_id=a-3&lastEventId=a-4", "", "lastEventId=a-4"},
		{"since=a-1&evs_last_event_id=a-2&last_event_id=a-3&lastEventId=a-4", "a-5", "lastEventId=a-5"},
		{"lastEventId=&last_event_id=a-3", "", "lastEventId=a-3"},
		{"", "some other server's id", "lastEventId=?"},
		{"", "a-01", "lastEventId=?"},
		{"", "a-18446744073709551616", "lastEventId=?"},
	} {
		q, err := parseText(c.text, c.header)
		got, uerr := url.QueryUnescape(canonical(q))
		if err != nil || uerr != nil || got != c.want {
			t.Errorf("%q with id %q: got %q and %v, want %q", c.text, c.header, got, err, c.want)
		}
	}
}

func TestQueryRefuses(t *testing.T) {
	for _, c := range []struct{ text, part string }{
		{"entity_id=light", `entity_id has "light"`},
		{"entity_id=Light.hall", `entity_id has "Light.hall"`},
		{"entity_id=a.b.c", "is no entity id"},
		{"entity_id=light.a%0d%0ab", "is no entity id"},
		{"domain=li.ght", "is no domain"},
		{"type=a%00b", "is no event type"},
		{"type=" + strings.Repeat("x", 65), "1 to 64 bytes"},
		{"domain=" + strings.Repeat("x", 256), "256 bytes"},
		{"domain=" + strings.Repeat("x,", 1001), "too many names: limits.selection_items"},
		{"domain=" + patterns(65), "65 names with a *"},
		{"snapshot=maybe", "snapshot must be 1 or 0"},
		{"padding=2", "padding must be"},
		{"max_age=0", "max_age must be 1 to"},
		{"max_age=NaN", "max_age must be"},
		{"max_age=1e300", "max_age must be"},
		{"format=xml", `format must be ha, flat, native or cloudevents, not "xml"`},
		{"slow=never", `slow must be replay, conflate or disconnect, not "never"`},
		{"gaps=1", "gaps must be data or event"},
		{"leave=2", "leave must be 1 or 0"},
		{"since=yesterday", "since must be an event id"},
		{"since=-5", "since must be"},
		{"since=Inf", "since must be"},
	} {
		_, err := parseText(c.text, "")
		if err == nil || !strings.Contains(err.Error(), c.part) || errorStatus(err).status != fasthttp.StatusBadRequest {
			t.Errorf("%.60q: got %v, want a 400 with %q", c.text, err, c.part)
		}
	}
}

func patterns(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, "%d*,", i)
	}
	return b.String()
}

func TestQueryBody(t *testing.T) {
	for _, c := range []struct{ body, want string }{
		{`{"type":["b","a"],"domain":"light","snapshot":true,"max_age":5,"odd":{"x":1},"restrict":null}`,
			"domain=light&max_age=5.000000000&snapshot=true&type=a,b"},
		{` type=a&domain=light `, "domain=light&type=a"},
		{"", ""},
	} {
		p := params{}
		if err := p.addBody([]byte(c.body)); err != nil {
			t.Errorf("%s: %v", c.body, err)
			continue
		}
		q, err := p.query("", Settings{}.withDefaults())
		got, uerr := url.QueryUnescape(canonical(q))
		if err != nil || uerr != nil || got != c.want {
			t.Errorf("%s: got %q and %v, want %q", c.body, got, err, c.want)
		}
	}
	for _, c := range []struct{ body, part string }{
		{"{\n\"type\":}", "line 2, byte 8"},
		{`{"type":{"a":1}}`, "type must be a string"},
		{`{"entity_id":[1]}`, "entity_id must be a string"},
	} {
		if err := (params{}).addBody([]byte(c.body)); err == nil || !strings.Contains(err.Error(), c.part) {
			t.Errorf("%q: got %v, want an error with %q", c.body, err, c.part)
		}
	}
}

func FuzzQuery(f *testing.F) {
	f.Add("type=state,a*&domain=light&entity_id=light.*&snapshot=1&since=2026-01-01T00:00:00Z", "epoch-7")
	f.Add(`{"type":["a"],"max_age":5}`, "")
	f.Add("since=1700000000.25&padding=1&max_age=1.5&format=flat", "")
	f.Add("format=native&slow=disconnect&gaps=data&leave=0&wait=30&limit=10", "")
	f.Fuzz(func(t *testing.T, text, lastEventID string) {
		p := params{}
		if p.addBody([]byte(text)) != nil {
			return
		}
		q, err := p.query(lastEventID, Settings{}.withDefaults())
		if err != nil {
			if errorStatus(err).status != fasthttp.StatusBadRequest {
				t.Errorf("%q: got %v, want status 400", text, err)
			}
			return
		}
		again, err := parseText(canonical(q), "")
		if err != nil {
			t.Fatalf("%q: its canonical form %q is refused: %v", text, canonical(q), err)
		}
		if !reflect.DeepEqual(q, again) {
			t.Errorf("%q: got %+v again, want %+v", text, again, q)
		}
	})
}
