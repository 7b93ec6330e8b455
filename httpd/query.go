package httpd

import (
	"bytes"
	"encoding/json"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/valyala/fasthttp"

	"carillon/httpd/broadcast"
	"carillon/internal/sse"
	"carillon/runtime"
)

const (
	// maxNames bounds the names of a stream unless the settings say otherwise;
	// longer lists want a wildcard.
	maxNames = 1000
	// maxPatterns bounds those of them with a '*', which cost time per event.
	maxPatterns = 64
	// maxName bounds one name in bytes, as entity ids are.
	maxName = 255
	// longestAge bounds max_age; a stream without it never ends.
	longestAge = 365 * 24 * time.Hour
)

// A query is what a stream asks for.
type query struct {
	selection broadcast.Selection
	format    string // one of formatNames, or empty: that of the path
	snapshot  bool   // asked for
	refrain   bool   // asked not to have it
	padding   bool
	slow      string        // one of slowPolicies, or empty: the configured one
	gapsData  bool          // gaps, resets and leaves also as unnamed messages
	leave     choice        // tell of entities that no longer match
	maxAge    time.Duration // 0: none
	from      from
	filter    *FilterSpec // nil for none
}

// A choice is a parameter that may also be left out.
type choice uint8

const (
	unsaid choice = iota
	yes
	no
)

// slowPolicies are the values of the parameter slow, in the policies' order.
var slowPolicies = []string{broadcast.Replay.String(), broadcast.Conflate.String(), broadcast.Disconnect.String()}

// A from is where a stream begins.
type from struct {
	kind  fromKind
	epoch string // fromID
	seq   uint64 // fromID
	at    time.Time
}

type fromKind uint8

const (
	fromNow     fromKind = iota
	fromID               // behind an event
	fromTime             // at a time
	fromUnknown          // behind an id that is none of ours
)

// params are the parameters of a request by name. Repeated ones join.
type params map[string][]string

// readParams reads the parameters in the address and in the body of a POST.
func readParams(c *call) (params, error) {
	p := params{}
	for key, value := range c.QueryArgs().All() {
		p.add(string(key), string(value))
	}
	if c.IsPost() {
		if err := p.addBody(c.PostBody()); err != nil {
			return nil, err
		}
	}
	return p, nil
}

// readQuery reads what a stream asks for from the address, the body of a POST,
// and the header Last-Event-ID.
func readQuery(c *call, s *Settings) (query, error) {
	p, err := readParams(c)
	if err != nil {
		return query{}, err
	}
	return p.query(string(c.Request.Header.Peek("Last-Event-ID")), s)
}

func (p params) add(key, value string) { p[key] = append(p[key], value) }

// addBody adds the parameters of a form or of a JSON object, whatever its
// Content-Type says.
func (p params) addBody(body []byte) error {
	object, err := p.readBody(body)
	if err != nil {
		return err
	}
	return p.addObject(object)
}

// readBody returns the members of a body that is a JSON object, and adds those
// of a form.
func (p params) readBody(body []byte) (object map[string]json.RawMessage, err error) {
	body = bytes.TrimSpace(body)
	if len(body) == 0 {
		return nil, nil
	}
	if body[0] != '{' {
		var form fasthttp.Args
		form.ParseBytes(body)
		for key, value := range form.All() {
			p.add(string(key), string(value))
		}
		return nil, nil
	}
	if err := json.Unmarshal(body, &object); err != nil {
		return nil, refuse(fasthttp.StatusBadRequest, "The body should be a form or a JSON object: %s.", describeJSON(body, err))
	}
	return object, nil
}

func (p params) addObject(object map[string]json.RawMessage) error {
	for key, value := range object {
		if err := p.addJSON(key, value); err != nil {
			return err
		}
	}
	return nil
}

// addJSON adds a string, number or boolean, or a list of strings.
func (p params) addJSON(key string, value json.RawMessage) error {
	var list []string
	var one any
	d := json.NewDecoder(bytes.NewReader(value))
	d.UseNumber()
	if key == "params" {
		p.add(key, string(value))
		return nil
	}
	if value[0] == '[' && json.Unmarshal(value, &list) == nil {
		p[key] = append(p[key], list...)
		return nil
	}
	if d.Decode(&one) != nil {
		one = nil
	}
	switch v := one.(type) {
	case string:
		p.add(key, v)
	case bool:
		p.add(key, strconv.FormatBool(v))
	case json.Number:
		p.add(key, v.String())
	default:
		if string(value) != "null" && slices.Contains(knownParams, key) {
			return malformed(key, "must be a string, a number, a boolean or a list of strings")
		}
	}
	return nil
}

// streamParams are the parameters that streams and polls know.
var streamParams = []string{"type", "events", "restrict", "domain", "entity_id", "snapshot", "padding", "max_age", "format", "since",
	"lastEventId", "last_event_id", "evs_last_event_id", "slow", "gaps", "leave"}

// knownParams are also those of polls, and what says which filter.
var knownParams = slices.Concat(streamParams, pollParams, []string{"filter"})

var pollParams = []string{"wait", "limit"}

func malformed(param, format string, args ...any) *refusal {
	return refuse(fasthttp.StatusBadRequest, "Parameter "+param+" "+format+".", args...)
}

// query reads the parameters that streams know; all others are ignored, since
// clients send odd ones. Further parameters of the route are not its filter's.
func (p params) query(lastEventID string, s *Settings, further ...string) (q query, err error) {
	if q.selection, err = p.selection(s.MaxNames); err != nil {
		return q, err
	}
	if q.filter, err = p.filter(s.MaxFilter, further...); err != nil {
		return q, err
	}
	if q.padding, _, err = p.flag("padding"); err != nil {
		return q, err
	}
	if q.format, err = p.word("format", formatNames); err != nil {
		return q, err
	}
	if q.maxAge, err = p.seconds("max_age", 1, longestAge); err != nil {
		return q, err
	}
	if q.from, err = p.from(lastEventID); err != nil {
		return q, err
	}
	if q.snapshot, q.refrain, err = p.flag("snapshot"); err != nil {
		return q, err
	}
	return q, p.manner(&q)
}

// manner reads how the stream is to be told what it can't have.
func (p params) manner(q *query) (err error) {
	if q.slow, err = p.word("slow", slowPolicies); err != nil {
		return err
	}
	gaps, err := p.word("gaps", []string{"data", "event"})
	if err != nil {
		return err
	}
	q.gapsData = gaps == "data"
	said, denied, err := p.flag("leave")
	switch {
	case said:
		q.leave = yes
	case denied:
		q.leave = no
	}
	return err
}

// selection reads what events the stream is for: at most so many names.
func (p params) selection(most int) (sel broadcast.Selection, err error) {
	types := slices.Concat(p["type"], p["events"], p["restrict"])
	if sel.Types, err = names("type", types, most, checkType); err != nil {
		return sel, err
	}
	most -= len(sel.Types)
	if sel.Domains, err = names("domain", p["domain"], most, checkDomain); err != nil {
		return sel, err
	}
	most -= len(sel.Domains)
	sel.Entities, err = names("entity_id", p["entity_id"], most, checkEntity)
	return sel, err
}

func (p params) first(key string) string {
	for _, value := range p[key] {
		if value = strings.TrimSpace(value); value != "" {
			return value
		}
	}
	return ""
}

// flag reports whether a parameter says yes, or no; neither if it is missing.
func (p params) flag(key string) (yes, no bool, err error) {
	switch value := strings.ToLower(p.first(key)); value {
	case "":
		return false, false, nil
	case "1", "true", "yes", "on":
		return true, false, nil
	case "0", "false", "no", "off":
		return false, true, nil
	default:
		return false, false, malformed(key, "must be 1 or 0, not %.60q", value)
	}
}

// word reads a parameter that is one of some words, or empty.
func (p params) word(key string, words []string) (string, error) {
	word := p.first(key)
	if word != "" && !slices.Contains(words, word) {
		return "", malformed(key, "must be %s or %s, not %.60q", strings.Join(words[:len(words)-1], ", "), words[len(words)-1], word)
	}
	return word, nil
}

// seconds reads a number of seconds, 0 if there is none.
func (p params) seconds(key string, least float64, most time.Duration) (time.Duration, error) {
	text := p.first(key)
	if text == "" {
		return 0, nil
	}
	seconds, err := strconv.ParseFloat(text, 64)
	if err != nil || !(seconds >= least && seconds <= most.Seconds()) {
		return 0, malformed(key, "must be %.0f to %.0f seconds, not %.60q", least, most.Seconds(), text)
	}
	return time.Duration(seconds * float64(time.Second)), nil
}

// count reads a whole number from 1, 0 if there is none.
func (p params) count(key string, most int) (int, error) {
	text := p.first(key)
	if text == "" {
		return 0, nil
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 || n > most {
		return 0, malformed(key, "must be a whole number from 1 to %d, not %.60q", most, text)
	}
	return n, nil
}

// from finds where the stream begins. An id that is none of ours is no error:
// a browser would give up for good, and it may well be another server's.
func (p params) from(lastEventID string) (from, error) {
	for _, id := range []string{lastEventID, p.first("lastEventId"), p.first("last_event_id"), p.first("evs_last_event_id")} {
		if id == "" {
			continue
		}
		if epoch, seq, ok := sse.ParseID(id); ok {
			return from{kind: fromID, epoch: epoch, seq: seq}, nil
		}
		return from{kind: fromUnknown}, nil
	}
	since := p.first("since")
	if since == "" {
		return from{}, nil
	}
	if epoch, seq, ok := sse.ParseID(since); ok {
		return from{kind: fromID, epoch: epoch, seq: seq}, nil
	}
	at, ok := parseTime(since)
	if !ok {
		return from{}, malformed("since", "must be an event id (<epoch>-<sequence>), an RFC 3339 time or Unix seconds, not %.60q", since)
	}
	return from{kind: fromTime, at: at}, nil
}

// parseTime reads RFC 3339, also with the '+' of its offset turned into a
// space by a client that did not escape it, or Unix seconds up to the year 9999.
func parseTime(text string) (time.Time, bool) {
	if at, err := time.Parse(time.RFC3339Nano, strings.Replace(text, " ", "+", 1)); err == nil {
		return at.UTC(), true
	}
	seconds, err := strconv.ParseFloat(text, 64)
	if err != nil || !(seconds >= 0 && seconds < 253402300800) {
		return time.Time{}, false
	}
	whole, part := math.Modf(seconds)
	return time.Unix(int64(whole), int64(part*1e9)).UTC(), true
}

// names splits comma lists and returns the names sorted, each once, if they are
// not more than most. None stands for everything, and so does a lone '*'.
func names(param string, lists []string, most int, check func(string) string) ([]string, error) {
	var out []string
	patterns := 0
	for _, list := range lists {
		for name := range strings.SplitSeq(list, ",") {
			if name = strings.TrimSpace(name); name == "" {
				continue
			}
			if len(name) > maxName {
				return nil, malformed(param, "has a name of %d bytes, more than %d", len(name), maxName)
			}
			if wrong := check(name); wrong != "" {
				return nil, malformed(param, "has %.300q, which %s", name, wrong)
			}
			if len(out) >= most {
				return nil, malformed(param, "has too many names: limits.selection_items bounds the types, domains and entities of a stream together; a * can stand for several")
			}
			out = append(out, simplify(param, name))
		}
	}
	slices.Sort(out)
	out = slices.Compact(out)
	for _, name := range out {
		if strings.Contains(name, "*") {
			patterns++
		}
	}
	if patterns > maxPatterns {
		return nil, malformed(param, "has %d names with a *, more than %d", patterns, maxPatterns)
	}
	if slices.Contains(out, "*") {
		return nil, nil
	}
	return out, nil
}

// simplify gives one spelling to names that mean the same.
func simplify(param, name string) string {
	for strings.Contains(name, "**") {
		name = strings.ReplaceAll(name, "**", "*")
	}
	if param == "type" && name == "state" {
		return runtime.StateChanged
	}
	return name
}

func checkType(name string) string {
	if !runtime.ValidEventType(name) {
		return "is no event type: 1 to 64 bytes of UTF-8 without control characters"
	}
	return ""
}

func checkDomain(name string) string {
	if strings.Trim(name, "abcdefghijklmnopqrstuvwxyz0123456789_*") != "" {
		return "is no domain: lower-case letters, digits and underscores, and * for any run of them"
	}
	return ""
}

func checkEntity(name string) string {
	dotted := strings.Count(name, ".") == 1 || strings.Contains(name, "*") && !strings.Contains(name, ".")
	if !dotted || strings.Trim(name, "abcdefghijklmnopqrstuvwxyz0123456789_.*") != "" {
		return "is no entity id: <domain>.<object> of lower-case letters, digits and underscores, and * for any run of characters"
	}
	return ""
}
