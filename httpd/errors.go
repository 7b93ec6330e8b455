package httpd

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"reflect"
	"strconv"
	"strings"
	"time"

	"github.com/valyala/fasthttp"

	"carillon/runtime"
)

// A refusal is an answer that says no: its status, and what is wrong.
type refusal struct {
	status int
	msg    string
	header [2]string    // one header more, such as Allow; may be empty
	filter *FilterError // what is wrong with a filter; nil if that is not the matter
}

func (r *refusal) Error() string { return r.msg }

func refuse(status int, format string, args ...any) *refusal {
	return &refusal{status: status, msg: fmt.Sprintf(format, args...)}
}

func (r *refusal) with(header, value string) *refusal {
	r.header = [2]string{header, value}
	return r
}

// errorStatus is the one place that maps what the runtime reports to HTTP:
// mistakes of the caller are 400, also those that the owner of a command finds
// in its data, an entity that isn't there 404, a command that its owner failed 500 or did not answer in time 504, a journal that can't
// store just now 503, and what an adapter does not do as PluginErrorKind says.
func errorStatus(err error) *refusal {
	var refused *refusal
	var invalid *runtime.InvalidError
	var call *runtime.CallError
	var filter *FilterError
	var plugin *PluginError
	late := errors.Is(err, context.DeadlineExceeded)
	switch {
	case errors.As(err, &refused):
		return refused
	case errors.As(err, &filter):
		return filter.refusal()
	case errors.As(err, &plugin):
		return refuse(plugin.status(), "%s", sentence(plugin.Err))
	case errors.Is(err, ErrFilterBusy):
		return refuse(fasthttp.StatusServiceUnavailable, "%s", sentence(err)).with("Retry-After", "1")
	case errors.As(err, &call) && wrongData(err):
		return refuse(fasthttp.StatusBadRequest, "%s", sentence(err))
	case errors.As(err, &call) && !late:
		return refuse(fasthttp.StatusInternalServerError, "%s", sentence(err))
	case late && call != nil:
		return refuse(fasthttp.StatusGatewayTimeout, "%s", sentence(err))
	case late:
		return refuse(fasthttp.StatusGatewayTimeout, "No answer within %v; what was asked for may still happen.", requestTime)
	case errors.Is(err, runtime.ErrNotFound):
		return refuse(fasthttp.StatusNotFound, "Entity not found.")
	case errors.Is(err, runtime.ErrUnknownService):
		return refuse(fasthttp.StatusBadRequest, "%s", sentence(err))
	case errors.Is(err, runtime.ErrJournal), errors.Is(err, runtime.ErrClosed):
		return refuse(fasthttp.StatusServiceUnavailable, "%s", sentence(err)).with("Retry-After", "1")
	case errors.As(err, &invalid):
		return refuse(fasthttp.StatusBadRequest, "%s", sentence(invalid))
	}
	return refuse(fasthttp.StatusInternalServerError, "%s", sentence(err))
}

// wrongData reports whether all that failed of a command did so for its data.
func wrongData(err error) bool {
	if all, ok := err.(interface{ Unwrap() []error }); ok {
		for _, e := range all.Unwrap() {
			if !wrongData(e) {
				return false
			}
		}
		return true
	}
	var data *runtime.DataError
	return errors.As(err, &data)
}

// sentence writes an error as the message of an answer. A first word that is a
// name, such as event_type or light.hall, stays as it is.
func sentence(err error) string {
	text := strings.TrimSpace(err.Error())
	if text == "" {
		return "Unknown error."
	}
	if first, _, _ := strings.Cut(text, " "); !strings.ContainsAny(strings.TrimSuffix(first, ":"), "._:/\"") {
		text = strings.ToUpper(text[:1]) + text[1:]
	}
	if !strings.HasSuffix(text, ".") {
		text += "."
	}
	return text
}

// writeError answers with {"message": …}, and for a filter with the place, too.
func writeError(ctx *fasthttp.RequestCtx, r *refusal) {
	ctx.Response.ResetBody()
	ctx.SetStatusCode(r.status)
	if r.header[0] != "" {
		ctx.Response.Header.Set(r.header[0], r.header[1])
	}
	writeMessage(ctx, r.msg)
	if r.filter != nil {
		ctx.SetBody(r.filter.appendPlace(ctx.Response.Body()))
	}
}

func writeMessage(ctx *fasthttp.RequestCtx, msg string) {
	ctx.SetContentType("application/json")
	body := append([]byte(nil), `{"message":`...)
	body = runtime.AppendString(body, msg)
	ctx.SetBody(append(body, '}'))
}

// brokenRequest answers what fasthttp couldn't read as a request. The answer
// repeats nothing of it.
func (s *Server) brokenRequest(ctx *fasthttp.RequestCtx, err error) {
	r := refuse(fasthttp.StatusBadRequest, "This is no well-formed HTTP request.")
	reason := refusedReason("malformed_request")
	var tooLong *fasthttp.ErrSmallBuffer
	var netErr net.Error
	switch {
	case errors.Is(err, fasthttp.ErrBodyTooLarge):
		r, reason = s.bodyTooLarge(), "body_too_large"
		drain(ctx.Conn())
	case errors.As(err, &tooLong):
		r = refuse(fasthttp.StatusRequestHeaderFieldsTooLarge,
			"The request line and header fields together must stay under %d bytes.", maxHeader)
		reason = "header_too_large"
	case errors.As(err, &netErr) && netErr.Timeout():
		r = refuse(fasthttp.StatusRequestTimeout, "The request did not arrive in time.")
		reason = "request_timeout"
	}
	s.refused(reason)
	writeError(ctx, r)
}

// later counts a refusal that is only for now, and says when to come back.
func (s *Server) later(reason refusedReason) *refusal {
	s.refused(reason)
	seconds := int((jitter(s.settings().Retry) + time.Second - 1) / time.Second)
	return refuse(fasthttp.StatusTooManyRequests, "%s", reason.why()).with("Retry-After", strconv.Itoa(seconds))
}

func (s *Server) bodyTooLarge() *refusal {
	return refuse(fasthttp.StatusRequestEntityTooLarge, "The body is larger than %d bytes (the configured limit).", s.settings().MaxBody)
}

// drain takes off what the client still sends, for at most a second: closing
// a connection with unread bytes resets it, and the client would never read why.
func drain(c net.Conn) {
	end := time.Now().Add(time.Second)
	buf := make([]byte, 32<<10)
	for time.Now().Before(end) {
		if c.SetReadDeadline(time.Now().Add(150*time.Millisecond)) != nil {
			return
		}
		if _, err := c.Read(buf); err != nil {
			return
		}
	}
}

// describeJSON says where text stops being the JSON that was wanted: the line
// and the byte in it, both from 1, and the field.
func describeJSON(text []byte, err error) string {
	offset, what := explainJSON(err)
	if offset == 0 {
		return what
	}
	before := text[:min(max(int(offset)-1, 0), len(text))]
	line := bytes.Count(before, []byte{'\n'}) + 1
	column := len(before) - bytes.LastIndexByte(before, '\n')
	return fmt.Sprintf("line %d, byte %d: %s", line, column, what)
}

// describeLine is describeJSON for one line of several.
func describeLine(err error) string {
	offset, what := explainJSON(err)
	if offset == 0 {
		return what
	}
	return fmt.Sprintf("byte %d: %s", offset, what)
}

// explainJSON returns the offset, from 1, and what is wrong there; 0 if the
// error names no place.
func explainJSON(err error) (offset int64, what string) {
	var syntax *json.SyntaxError
	var wrongType *json.UnmarshalTypeError
	switch {
	case errors.As(err, &syntax):
		return max(syntax.Offset, 1), syntax.Error()
	case errors.As(err, &wrongType):
		field := wrongType.Field
		if field == "" {
			field = "the value"
		}
		return max(wrongType.Offset, 1), fmt.Sprintf("%s must be %s, not %s", field, jsonKind(wrongType.Type.Kind()), wrongType.Value)
	}
	return 0, err.Error()
}

func jsonKind(kind reflect.Kind) string {
	switch kind {
	case reflect.Struct, reflect.Map:
		return "an object"
	case reflect.Slice:
		return "a list"
	case reflect.Bool:
		return "true or false"
	case reflect.String:
		return "a string"
	}
	return "a number"
}

func plural(n int, word string) string {
	if n == 1 {
		return "1 " + word
	}
	return strconv.Itoa(n) + " " + word + "s"
}
