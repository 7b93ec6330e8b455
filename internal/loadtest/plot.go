package loadtest

import (
	"fmt"
	"html/template"
	"math"
	"strings"
)

// A plot's size in units of its viewBox, and the margins for labels.
const (
	plotWide, plotNarrow = 1060.0, 520.0 // over the page, and half of it
	plotHeight           = 260.0
	plotLeft, plotRight  = 64.0, 34.0
	plotTop, plotBottom  = 20.0, 40.0
)

// plot is a chart of lines over one x axis; y begins at 0.
type plot struct {
	title      string
	width      float64
	label      func(float64) string // of y
	xTicks     []axisTick
	xMin, xMax float64
	xTitle     string
	lines      []line
	area       bool // fill below the first line
}

type axisTick struct {
	at   float64
	text string
}

// line is one curve. Its class gives the colour.
type line struct {
	name, class string
	points      []point
}

type point struct {
	x, y float64
	note string // shown on hovering, if not empty
	mark bool   // a visible dot, labelled with note
}

// svg draws the plot. All text in it is ours, but escaped all the same.
func (p *plot) svg() template.HTML {
	var b strings.Builder
	fmt.Fprintf(&b, `<svg viewBox="0 0 %g %g" role="img" aria-label="%s">`, p.width, plotHeight, template.HTMLEscapeString(p.title))
	yMax := 0.0
	for _, l := range p.lines {
		for _, pt := range l.points {
			yMax = max(yMax, pt.y)
		}
	}
	step := niceStep(yMax)
	yMax = max(math.Ceil(yMax/step*1.02), 1) * step
	x := func(v float64) float64 {
		return plotLeft + (v-p.xMin)/max(p.xMax-p.xMin, 1e-9)*(p.width-plotLeft-plotRight)
	}
	y := func(v float64) float64 { return plotHeight - plotBottom - v/yMax*(plotHeight-plotTop-plotBottom) }
	for v := 0.0; v <= yMax+step/2; v += step {
		fmt.Fprintf(&b, `<path class="grid" d="M%.1f %.1fH%.1f"/>`, plotLeft, y(v), p.width-plotRight)
		fmt.Fprintf(&b, `<text class="tick" x="%.1f" y="%.1f" text-anchor="end">%s</text>`, plotLeft-8, y(v)+4, template.HTMLEscapeString(p.label(v)))
	}
	for _, t := range p.xTicks {
		fmt.Fprintf(&b, `<path class="grid" d="M%.1f %.1fV%.1f"/>`, x(t.at), plotTop, plotHeight-plotBottom)
		fmt.Fprintf(&b, `<text class="tick" x="%.1f" y="%.1f" text-anchor="middle">%s</text>`, x(t.at), plotHeight-plotBottom+18, template.HTMLEscapeString(t.text))
	}
	fmt.Fprintf(&b, `<text class="tick" x="%.1f" y="%.1f" text-anchor="end">%s</text>`, p.width-plotRight, plotHeight-4, template.HTMLEscapeString(p.xTitle))
	for i, l := range p.lines {
		l.draw(&b, x, y, p.area && i == 0)
	}
	b.WriteString(`</svg>`)
	return template.HTML(b.String())
}

// draw draws the curve, then its dots above it.
func (l *line) draw(b *strings.Builder, x, y func(float64) float64, area bool) {
	if len(l.points) == 0 {
		return
	}
	var d strings.Builder
	for i, pt := range l.points {
		fmt.Fprintf(&d, "%c%.1f %.1f", "ML"[min(i, 1)], x(pt.x), y(pt.y))
	}
	if area {
		fmt.Fprintf(b, `<path class="area %s" d="%sV%.1fH%.1fZ"/>`, l.class, d.String(), y(0), x(l.points[0].x))
	}
	fmt.Fprintf(b, `<path class="line %s" d="%s"/>`, l.class, d.String())
	for _, pt := range l.points {
		if pt.note == "" {
			continue
		}
		class := "hover"
		if pt.mark {
			class = "dot"
			fmt.Fprintf(b, `<text class="note" x="%.1f" y="%.1f" text-anchor="middle">%s</text>`, x(pt.x), y(pt.y)-10, template.HTMLEscapeString(pt.note))
		}
		fmt.Fprintf(b, `<circle class="%s %s" cx="%.1f" cy="%.1f" r="4"><title>%s</title></circle>`, class, l.class, x(pt.x), y(pt.y), template.HTMLEscapeString(pt.note))
	}
}

// niceStep returns the distance of about four grid lines up to top: 1, 2 or 5
// times a power of ten.
func niceStep(top float64) float64 {
	if top <= 0 {
		return 1
	}
	power := math.Pow(10, math.Floor(math.Log10(top/4)))
	for _, f := range []float64{1, 2, 5} {
		if top/4 <= f*power {
			return f * power
		}
	}
	return 10 * power
}
