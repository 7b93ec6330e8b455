package httpd

import (
	"bytes"
	"fmt"
	"time"

	"github.com/VictoriaMetrics/metrics"
	"github.com/valyala/fasthttp"
)

// newMetrics makes the server's own metrics. Every refusal is counted by its
// reason in carillon_http_refused_total; the hub has its own counters.
func (s *Server) newMetrics() *metrics.Set {
	set := metrics.NewSet()
	set.NewGauge("carillon_http_connections", func() float64 { return float64(s.http.GetOpenConnectionsCount()) })
	set.NewGauge("carillon_polls_waiting", func() float64 { _, polls := s.places.now(); return float64(polls) })
	set.NewGauge("carillon_entities", func() float64 { return float64(len(s.Runtime.States())) })
	set.NewGauge("carillon_head", func() float64 { return float64(s.Runtime.Head()) })
	set.NewGauge("carillon_uptime_seconds", func() float64 { return s.now().Sub(s.startedAt).Seconds() })
	set.GetOrCreateCounter("carillon_http_panics_total")
	return set
}

// countRequest counts by class of status only: what clients send must not make
// new series.
func (s *Server) countRequest(ctx *fasthttp.RequestCtx, took time.Duration) {
	class := fmt.Sprintf("%dxx", ctx.Response.StatusCode()/100)
	if ctx.Hijacked() {
		class = "stream"
	}
	s.metrics.GetOrCreateCounter(fmt.Sprintf("carillon_http_requests_total{class=%q}", class)).Inc()
	s.metrics.GetOrCreateSummary("carillon_http_request_seconds").Update(took.Seconds())
}

// getMetrics writes the server's, the hub's, the process's and Metrics' own
// metrics in Prometheus' text format.
func (s *Server) getMetrics(c *call) error {
	var b bytes.Buffer
	s.metrics.WritePrometheus(&b)
	metrics.WritePrometheus(&b, true)
	if s.Metrics != nil {
		s.Metrics(&b)
	}
	c.SetContentType("text/plain; version=0.0.4; charset=utf-8")
	c.SetBody(b.Bytes())
	return nil
}
