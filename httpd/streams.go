package httpd

import (
	"cmp"
	"encoding/json"
	"errors"
	"slices"
	"unicode/utf8"

	"github.com/valyala/fasthttp"

	"carillon/httpd/broadcast"
	"carillon/internal/sse"
)

// streamInfo is one stream as /api/streams tells of it.
type streamInfo struct {
	ID         string     `json:"id"`
	Credential string     `json:"credential"` // "administrator", or "jwt:" and the subject
	Remote     string     `json:"remote"`
	Since      string     `json:"since"`
	Selection  selections `json:"selection"`
	Format     string     `json:"format"`
	Slow       string     `json:"slow"`
	Gaps       string     `json:"gaps"`
	Leave      bool       `json:"leave"`
	Position   string     `json:"position"` // the id up to which it has everything
	Lag        streamLag  `json:"lag"`
	Bytes      uint64     `json:"bytes"`
	Events     uint64     `json:"events"`
	LastSent   string     `json:"last_sent"`
	State      string     `json:"state"`
}

type streamLag struct {
	Events uint64 `json:"events"`
	Bytes  uint64 `json:"bytes"`
	Kernel int    `json:"kernel_bytes"` // sent, and not acknowledged yet
}

// selections is a selection by the names of its parameters; what is not there
// is everything.
type selections struct {
	Types    []string `json:"type,omitempty"`
	Domains  []string `json:"domain,omitempty"`
	Entities []string `json:"entity_id,omitempty"`
	Filter   string   `json:"filter,omitempty"`
}

func describeSelection(sel broadcast.Selection) selections {
	d := selections{Types: sel.Types, Domains: sel.Domains, Entities: sel.Entities}
	if sel.Filter != nil {
		d.Filter = shorten(sel.Filter.String())
	}
	return d
}

// shorten cuts a filter's text for a list: there may be as many of them as
// streams.
func shorten(text string) string {
	const most = 500
	if len(text) <= most {
		return text
	}
	end := most
	for !utf8.RuneStart(text[end]) {
		end--
	}
	return text[:end] + "…"
}

func (s *Server) describe(info broadcast.StreamInfo) streamInfo {
	d := streamInfo{
		ID: info.ID, Credential: info.Credential, Remote: info.Remote, Since: stamp(info.ConnectedAt),
		Selection: describeSelection(info.Selection), Format: info.Format, Slow: info.Slow.String(), Gaps: "event",
		Position: sse.FormatID(s.Epoch, info.Position), Bytes: info.Bytes, Events: info.Events, LastSent: stamp(info.LastSent),
		Lag: streamLag{info.LagEvents, info.LagBytes, info.KernelBytes}, State: "live",
	}
	if info.GapsAsData {
		d.Gaps = "data"
	}
	_, d.Leave = s.leaving.Load(info.ID)
	switch {
	case info.Conflating:
		d.State = "conflating"
	case info.Replaying:
		d.State = "replaying"
	case info.Blocked:
		d.State = "blocked"
	}
	return d
}

// owns reports whether the visitor may see, change and end the streams of a
// credential: the administrator all of them, a subject its own.
func (v visitor) owns(credential string) bool {
	return v.admin || v.user != "" && credential == v.who()
}

// getStreams lists the open streams, the oldest first: all of them for the
// administrator, its own for a subject.
func (s *Server) getStreams(c *call) error {
	list := []streamInfo{}
	s.hub.Streams(func(info broadcast.StreamInfo) {
		if c.owns(info.Credential) {
			list = append(list, s.describe(info))
		}
	})
	slices.SortFunc(list, func(a, b streamInfo) int { return cmp.Or(cmp.Compare(a.Since, b.Since), cmp.Compare(a.ID, b.ID)) })
	return writeJSON(c, list)
}

func (s *Server) getStream(c *call) error {
	if _, err := s.find(c); err != nil {
		return err
	}
	var found *streamInfo
	s.hub.Streams(func(info broadcast.StreamInfo) {
		if info.ID == c.rest {
			d := s.describe(info)
			found = &d
		}
	})
	if found == nil {
		return noStream()
	}
	return writeJSON(c, found)
}

// deleteStream ends a stream on a frame boundary. Its reader may come back.
func (s *Server) deleteStream(c *call) error {
	if _, err := s.find(c); err != nil {
		return err
	}
	if err := s.hub.End(c.rest, broadcast.Ended); err != nil {
		return streamError(err)
	}
	writeMessage(c.RequestCtx, "Stream ended.")
	return nil
}

// find returns the stream that the path names, if it is the visitor's.
func (s *Server) find(c *call) (broadcast.Identity, error) {
	found, err := s.hub.Identify(c.rest)
	if err != nil {
		return found, streamError(err)
	}
	if !c.owns(found.Credential) {
		s.refused("not_the_owner")
		return found, refuse(fasthttp.StatusForbidden, "This stream was opened with another credential.")
	}
	return found, nil
}

func noStream() *refusal {
	return refuse(fasthttp.StatusNotFound, "There is no such stream; GET /api/streams lists those that are open.")
}

// streamError maps what the hub says about a stream.
func streamError(err error) error {
	switch {
	case errors.Is(err, broadcast.ErrNoStream):
		return noStream()
	case errors.Is(err, broadcast.ErrBusy), errors.Is(err, broadcast.ErrClosed):
		return refuse(fasthttp.StatusServiceUnavailable, "%s", sentence(err)).with("Retry-After", "1")
	}
	return err
}

// appendLeave appends the message that an entity is not selected any more, and
// before it the same as an unnamed one if the stream wants that.
func (f *format) appendLeave(b []byte, entityID string, seq uint64, asData bool) []byte {
	data, err := json.Marshal(map[string]string{"entity_id": entityID})
	if err != nil {
		return b
	}
	return f.appendTold(b, leaveEvent, seq, data, asData)
}

// appendTold appends a named message that the stream tells of itself, without an
// id, as broadcast does for gaps.
func (f *format) appendTold(b []byte, name string, seq uint64, data []byte, asData bool) []byte {
	if asData {
		b = sse.AppendEvent(b, "", "", f.told(nil, name, seq, data))
	}
	return sse.AppendEvent(b, "", name, data)
}
