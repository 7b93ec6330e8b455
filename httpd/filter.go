package httpd

import (
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/valyala/fasthttp"

	"carillon/httpd/broadcast"
)

const (
	// maxParams bounds the parameters of one filter, and maxParam their names in
	// bytes.
	maxParams = 64
	maxParam  = 64
)

// A FilterSpec is the filter that a client asks for.
type FilterSpec struct {
	Source     string         // JavaScript; or @ and the name of a named filter
	Params     map[string]any // strings, float64s and bools; nil for none
	Credential string         // whose it is: "administrator", or "jwt:" and the subject
	Full       bool           // whether it may use all of JavaScript
}

// A FilterError is what is wrong with a filter, told to who asked for it.
type FilterError struct {
	Line, Column int    // from 1, the column in characters; 0 if it is about no place
	Construct    string // what the filter may not use; empty if that is not the matter
	Message      string
}

func (e *FilterError) Error() string {
	if e.Line == 0 {
		return e.Message
	}
	return fmt.Sprintf("%d:%d: %s", e.Line, e.Column, e.Message)
}

// ownParams are the parameters of a request that are never those of a filter:
// the stream's, and its credential. So is what some clients add against caches.
var ownParams = slices.Concat(streamParams, []string{"filter", "params", "token", "api_password", "_"})

// filter reads the filter that a stream or poll asks for, nil for none. Further
// parameters of the route are not the filter's either.
func (p params) filter(most int, further ...string) (*FilterSpec, error) {
	spec := &FilterSpec{Source: p.first("filter")}
	if spec.Source == "" {
		return nil, nil
	}
	if n := len(p["filter"]); n > 1 {
		return nil, malformed("filter", "is given %d times", n)
	}
	if len(spec.Source) > most {
		return nil, malformed("filter", "has %d bytes, more than %d (limits.filter_bytes)", len(spec.Source), most)
	}
	if !utf8.ValidString(spec.Source) {
		return nil, malformed("filter", "is no UTF-8")
	}
	return spec, p.filterParams(spec, most, further)
}

// filterParams reads the parameters of a filter: what stands in params, and as
// params.NAME; for a named one also all that are none of the stream's own. Odd
// names among those are passed over, as streams do with what they don't know.
func (p params) filterParams(spec *FilterSpec, most int, further []string) error {
	if err := p.paramsObject(spec, most); err != nil {
		return err
	}
	size := 0
	for key, values := range p {
		name, said := strings.CutPrefix(key, "params.")
		odd := !identifier(name)
		switch {
		case said && odd:
			return malformed("params", "has %.80q, which is no name: up to %d letters, digits and underscores", name, maxParam)
		case !said && (odd || spec.Source[0] != '@' || slices.Contains(ownParams, key) || slices.Contains(further, key)):
			continue
		case len(values) > 1 || spec.Params[name] != nil:
			return malformed("params", "has %s more than once", name)
		case !utf8.ValidString(values[0]):
			return malformed("params", "has %s, which is no UTF-8", name)
		}
		spec.set(name, paramValue(values[0]))
		size += len(values[0])
	}
	if len(spec.Params) > maxParams || size > most {
		return malformed("params", "has %d parameters of %d bytes, more than %d or %d", len(spec.Params), size, maxParams, most)
	}
	return nil
}

// paramsObject reads the parameters that stand in one JSON object.
func (p params) paramsObject(spec *FilterSpec, most int) error {
	text := p.first("params")
	if text == "" || text == "null" {
		return nil
	}
	if len(text) > most {
		return malformed("params", "has %d bytes, more than %d (limits.filter_bytes)", len(text), most)
	}
	var object map[string]any
	if len(p["params"]) > 1 || json.Unmarshal([]byte(text), &object) != nil {
		return malformed("params", `must be one object, such as {"limit":20}`)
	}
	for name, value := range object {
		switch value.(type) {
		case string, float64, bool:
		default:
			return malformed("params", "has %.80q, which must be a string, a number or a boolean", name)
		}
		if !identifier(name) {
			return malformed("params", "has %.80q, which is no name: up to %d letters, digits and underscores", name, maxParam)
		}
		spec.set(name, value)
	}
	return nil
}

func (f *FilterSpec) set(name string, value any) {
	if f.Params == nil {
		f.Params = make(map[string]any)
	}
	f.Params[name] = value
}

// identifier reports whether a name can be used as params.name.
func identifier(name string) bool {
	const letters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ_$"
	return name != "" && len(name) <= maxParam && name != "__proto__" &&
		strings.Trim(name, letters+"0123456789") == "" && strings.Contains(letters, name[:1])
}

// paramValue reads what looks like a JSON number, true or false as such, and all
// else as text.
func paramValue(text string) any {
	switch text {
	case "true":
		return true
	case "false":
		return false
	}
	if json.Valid([]byte(text)) && strings.IndexByte("-0123456789", text[0]) >= 0 {
		if n, err := strconv.ParseFloat(text, 64); err == nil && !math.IsInf(n, 0) {
			return n
		}
	}
	return text
}

// useFilter compiles the filter that a query asks for, if it does, and puts it
// into its selection. The caller gives it back by release, once the hub or
// nobody uses it.
func (s *Server) useFilter(c *call, q *query) error {
	if q.filter == nil {
		return nil
	}
	if s.CompileFilter == nil {
		return malformed("filter", "is not supported here")
	}
	ctx, cancel := c.patience()
	defer cancel()
	spec := *q.filter
	s.authorise(c, &spec)
	f, err := s.CompileFilter(ctx, spec)
	if err != nil {
		s.refused("filter")
		return err
	}
	q.selection.Filter = f
	return nil
}

// authorise fills in who asks for a filter, and what that one may.
func (s *Server) authorise(c *call, spec *FilterSpec) {
	spec.Credential = c.who()
	spec.Full = c.admin || c.user != "" && slices.Contains(s.settings().FullJavaScript, c.user)
}

// releaseFilter gives a filter back that was compiled, if there is one.
func (s *Server) releaseFilter(f broadcast.Filter) {
	if f != nil {
		s.ReleaseFilter(f)
	}
}

// appendPlace gives a JSON object the members line, column and construct: what
// isn't known is null.
func (e *FilterError) appendPlace(object []byte) []byte {
	place := struct {
		Line      *int    `json:"line"`
		Column    *int    `json:"column"`
		Construct *string `json:"construct"`
	}{}
	if e.Line > 0 {
		place.Line, place.Column = &e.Line, &e.Column
	}
	if e.Construct != "" {
		place.Construct = &e.Construct
	}
	more, err := json.Marshal(place)
	if err != nil { // two numbers and a text: does not happen
		return object
	}
	return append(append(object[:len(object)-1], ','), more[1:]...)
}

// refusal returns how a client is told what is wrong with its filter.
func (e *FilterError) refusal() *refusal {
	r := refuse(fasthttp.StatusBadRequest, "Parameter filter: %s.", strings.TrimSuffix(e.Error(), "."))
	r.filter = e
	return r
}
