package loadtest

import (
	_ "embed"
	"fmt"
	"html/template"
	"io"
	"math"
	"strconv"
	"strings"
)

//go:embed report.html
var pageText string

var page = template.Must(template.New("report").Parse(pageText))

// tile is a figure at the top of the page.
type tile struct{ Name, Value, Note string }

// chart is a plot with what stands above it.
type chart struct {
	Title, Note string
	Wide        bool
	Legend      []line
	SVG         template.HTML
}

// Name and Class are for the template.
func (l line) Name() string  { return l.name }
func (l line) Class() string { return l.class }

// WriteHTML writes the report as one page that needs nothing else: no script,
// no font, no image, no address.
func (r *Report) WriteHTML(w io.Writer) error {
	m := r.Machine
	machine := []string{m.Host, m.System, fmt.Sprintf("%d processors", m.CPUs)}
	if m.CPU != "" {
		machine = append(machine, m.CPU)
	}
	data := struct {
		*Report
		Good    bool
		When    string
		Where   string
		Tiles   []tile
		Charts  []chart
		Rows    [][2]string
		Verdict string
	}{r, r.OK(), r.Date.Format("2006-01-02 15:04:05 MST"), strings.Join(append(machine, m.Go), ", "), r.tiles(), r.charts(), r.rows(), r.Verdict()}
	if err := page.Execute(w, data); err != nil {
		return fmt.Errorf("writing report: %w", err)
	}
	return nil
}

func (r *Report) tiles() []tile {
	tiles := []tile{
		{"Streams", count(r.Opened), "opened in " + seconds(r.OpenSeconds)},
		{"Delivered", rate(r.DeliveredPerSecond()), count(r.Delivered) + " in all"},
	}
	if l := r.Latency; l != nil {
		tiles = append(tiles,
			tile{"Latency, median", millis(l.P50), "90 %: " + millis(l.P90)},
			tile{"Latency, 99 %", millis(l.P99), "99.9 %: " + millis(l.P999)},
			tile{"Latency, worst", millis(l.Max), "of " + count(l.Count)})
	}
	tiles = append(tiles, tile{"Faults", count(r.total()), plural(r.Reconnects, "reconnect")})
	if s := r.Server; s != nil {
		if r.Delivered > 0 {
			tiles = append(tiles, tile{"Server CPU", fmt.Sprintf("%.3g µs", s.CPUPerDelivery), "a delivery"})
		}
		note := "a stream"
		if s.HeapStacksAfter > 0 {
			note += "; heap and stacks " + bytesText(s.HeapPerStream)
		}
		tiles = append(tiles, tile{"Server RSS", bytesText(s.RSSPerStream), note})
	}
	return tiles
}

func (r *Report) charts() (charts []chart) {
	if r.Latency != nil {
		charts = append(charts, r.latencyChart())
	}
	if len(r.Series) < 2 {
		return charts
	}
	delivered := line{name: "delivered", class: "a"}
	var times [3]line
	for i, name := range []string{"median", "99 %", "worst"} {
		times[i] = line{name: name, class: []string{"a", "b", "c"}[i]}
	}
	end := 0.0
	for i, s := range r.Series {
		at := s.At
		if i+1 < len(r.Series) {
			at = (at + r.Series[i+1].At) / 2
		}
		end = max(end, at)
		delivered.points = append(delivered.points, point{x: at, y: s.Delivered,
			note: fmt.Sprintf("%.0f s: %s delivered, %sB/s, %s published", at, rate(s.Delivered), amount(s.Bytes), rate(s.Published))})
		if s.Max > 0 {
			for k, v := range []float64{s.P50, s.P99, s.Max} {
				times[k].points = append(times[k].points, point{x: at, y: v, note: fmt.Sprintf("%.0f s: %s %s", at, times[k].name, millis(v))})
			}
		}
	}
	over := plot{width: plotNarrow, xMin: r.Series[0].At, xMax: end, xTitle: "seconds", xTicks: timeTicks(end)}
	through := over
	through.title, through.label, through.area = "Deliveries a second", func(v float64) string { return strings.TrimSpace(amount(v)) }, true
	through.lines = []line{delivered}
	charts = append(charts, chart{Title: "Throughput", Note: "deliveries a second, all streams", SVG: through.svg()})
	if r.Latency != nil {
		latency := over
		latency.title, latency.label, latency.lines = "Latency over time", axisMillis, times[:]
		charts = append(charts, chart{Title: "Latency over time", Note: "of events received in each second", Legend: times[:], SVG: latency.svg()})
	}
	return charts
}

// latencyChart plots latency by percentile, each further nine as wide as the
// one before it.
func (r *Report) latencyChart() chart {
	l := line{name: "latency", class: "a"}
	nines := func(percent float64) float64 { return -math.Log10(1 - percent/100) }
	end := 0.0
	p := plot{title: "Latency by percentile", width: plotWide, label: axisMillis, xTitle: "percentile", area: true}
	for _, q := range r.Latency.Percentiles {
		if q.Percent < 100 {
			end = nines(q.Percent)
			l.points = append(l.points, point{x: end, y: q.Ms, note: strconv.FormatFloat(q.Percent, 'g', 7, 64) + " %: " + millis(q.Ms)})
		}
	}
	for _, percent := range []float64{50, 90, 99, 99.9, 99.99, 99.999, 99.9999, 99.99999} {
		if at := nines(percent); at <= end {
			p.xTicks = append(p.xTicks, axisTick{at, strconv.FormatFloat(percent, 'f', -1, 64) + " %"})
		}
	}
	marks := line{class: "a dots", points: []point{
		{x: nines(50), y: r.Latency.P50, note: millis(r.Latency.P50), mark: true},
		{x: nines(99), y: r.Latency.P99, note: millis(r.Latency.P99), mark: true},
		{x: end, y: r.Latency.Max, note: millis(r.Latency.Max), mark: true},
	}}
	p.xMax = end
	p.lines = []line{l, marks}
	return chart{Title: "Latency by percentile", Wide: true, Note: "from the intended send time to the arrival; each step to the right is ten times rarer", SVG: p.svg()}
}

func axisMillis(v float64) string {
	if v >= 10000 {
		return strconv.FormatFloat(v/1000, 'g', 4, 64) + " s"
	}
	return strconv.FormatFloat(v, 'g', 4, 64) + " ms"
}

func timeTicks(end float64) (ticks []axisTick) {
	step := max(niceStep(end*0.5), 1)
	for at := 0.0; at <= end; at += step {
		ticks = append(ticks, axisTick{at, strconv.FormatFloat(at, 'f', -1, 64)})
	}
	return ticks
}
