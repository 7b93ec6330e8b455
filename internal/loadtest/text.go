package loadtest

import (
	"fmt"
	"io"
	"math"
	"strconv"
	"strings"
)

// WriteText writes the report for people: a line for each subject.
func (r *Report) WriteText(w io.Writer) error {
	var b strings.Builder
	for _, row := range r.rows() {
		fmt.Fprintf(&b, "%-10s %s\n", row[0], row[1])
	}
	for _, e := range r.Examples {
		fmt.Fprintf(&b, "%-10s %s\n", "", "for example: "+e)
	}
	fmt.Fprintf(&b, "%-10s %s\n", "result", r.Verdict())
	if _, err := io.WriteString(w, b.String()); err != nil {
		return fmt.Errorf("writing report: %w", err)
	}
	return nil
}

// Verdict says in a sentence how the test went.
func (r *Report) Verdict() string {
	var only, others string
	if r.Filters != nil {
		only, others = " that its filter takes", ", and no other"
	}
	switch {
	case r.total() > 0:
		return fmt.Sprintf("FAULTY: %s in %s", r.faultText(), plural(int64(r.FaultyStreams), "stream"))
	case r.Problem != "":
		return "ended early: " + r.Problem
	case r.Interrupted:
		return "interrupted; no fault until then"
	case !r.OK():
		return "nothing was delivered"
	case r.ListenOnly && r.Latency == nil:
		return "ok: no repetition and no disorder by ids (loss cannot be seen without marks)"
	case r.Rate == 0 && !r.ListenOnly:
		return "ok: the streams were held"
	case r.ListenOnly:
		return "ok: every stream got every event once and in order from its first on"
	case r.Announced > 0:
		return fmt.Sprintf("ok: every stream got every event%s unaltered, once and in order%s, but for %s that it was told it would not get",
			only, others, plural(r.Announced, "delivery"))
	}
	return "ok: every stream got every event" + only + " unaltered, once and in order" + others
}

func (r *Report) faultText() string {
	text := fmt.Sprintf("%s lost, %s repeated, %s disordered, %s altered", count(r.Lost), count(r.Repeated), count(r.Disordered), count(r.Altered))
	if r.Filters != nil || r.Unasked > 0 {
		text += fmt.Sprintf(", %s not asked for", count(r.Unasked))
	}
	return text
}

// rows are the report's lines: a subject and what was found.
func (r *Report) rows() [][2]string {
	rows := [][2]string{
		{"target", r.Target},
		{"streams", fmt.Sprintf("%s opened in %s (%s); %s at the end, %s", count(r.Opened), seconds(r.OpenSeconds),
			rate(per(float64(r.Opened), r.OpenSeconds)), count(r.OpenAtEnd), plural(r.Reconnects, "reconnect"))},
	}
	if len(r.Selections) > 0 {
		rows = append(rows, [2]string{"selections", fmt.Sprintf("%q", r.Selections)})
	}
	if f := r.Filters; f != nil {
		rows = append(rows, [2]string{"filters", f.Text + "; " + plural(f.Errors, "filter_error frame")})
	}
	if !r.ListenOnly && r.Rate > 0 {
		text := fmt.Sprintf("%s of %d bytes of data, %s wanted, %s done; slowest request %s", plural(r.Published, "event"), r.Size,
			rate(r.Rate), rate(per(float64(r.Published), r.PublishSeconds)), millis(r.SlowestPublishMs))
		if r.PublishRetries > 0 {
			text += fmt.Sprintf("; %s to repeat, %s of events published twice", plural(r.PublishRetries, "request"), plural(r.PublishedTwice, "delivery"))
		}
		rows = append(rows, [2]string{"published", text})
	}
	rows = append(rows,
		[2]string{"delivered", fmt.Sprintf("%s (%s), %sB (%sB/s); %s", plural(r.Delivered, "event"), rate(r.DeliveredPerSecond()),
			amount(float64(r.Bytes)), amount(per(float64(r.Bytes), r.Seconds)), plural(r.Others, "other event"))},
		[2]string{"faults", r.faultText()},
		[2]string{"announced", fmt.Sprintf("%s, %s; %s missed that they stand for", plural(r.Gaps, "gap frame"), plural(r.Resets, "reset frame"),
			plural(r.Announced, "delivery"))})
	if s := r.Stalled; s != nil {
		rows = append(rows, [2]string{"stalled", s.text()})
	}
	if c := r.Chaos; c != nil {
		rows = append(rows, [2]string{"chaos", c.text()})
	}
	if l := r.Latency; l != nil {
		rows = append(rows, [2]string{"latency", fmt.Sprintf("p50 %s, p90 %s, p99 %s, p99.9 %s, max %s",
			millis(l.P50), millis(l.P90), millis(l.P99), millis(l.P999), millis(l.Max))})
	}
	if s := r.Server; s != nil {
		text := fmt.Sprintf("%s RSS", bytesText(s.RSSPerStream))
		if s.HeapStacksAfter > 0 {
			text += fmt.Sprintf(", %s heap and stacks", bytesText(s.HeapPerStream))
		}
		text += fmt.Sprintf(" a stream (RSS %s to %s)", bytesText(float64(s.RSSBefore)), bytesText(float64(s.RSSAfter)))
		rows = append(rows, [2]string{"server", fmt.Sprintf("%s of CPU%s; %s", seconds(s.CPUSeconds), r.perDelivery(s.CPUSeconds), text)})
	}
	if r.Client > 0 {
		rows = append(rows, [2]string{"client", fmt.Sprintf("%s of CPU%s", seconds(r.Client.Seconds()), r.perDelivery(r.Client.Seconds()))})
	}
	return rows
}

// text tells the chaos in a line.
func (c *ChaosReport) text() string {
	return fmt.Sprintf("seed %d; %s (%s within a frame, %s before the stream began; %s by reset, the others by close), %s of %s, "+
		"%s by SIGKILL and %d by SIGTERM, %s down", c.Seed, plural(c.Kills, "connection")+" killed", count(c.KillsInFrame), count(c.KillsInHead),
		count(c.Aborted), plural(c.Stalls, "stall"), seconds(c.StallSeconds/float64(max(c.Stalls, 1)))+" on average",
		plural(c.RestartsKill, "restart"), c.RestartsTerm, seconds(c.DownSeconds))
}

// DeliveredPerSecond is the rate from the first event's time to the last delivery.
func (r *Report) DeliveredPerSecond() float64 { return per(float64(r.Delivered), r.Seconds) }

func (r *Report) perDelivery(cpuSeconds float64) string {
	if r.Delivered == 0 {
		return ""
	}
	return fmt.Sprintf(", %.3g µs a delivery", cpuSeconds*1e6/float64(r.Delivered))
}

func per(n, seconds float64) float64 {
	if seconds <= 0 {
		return 0
	}
	return n / seconds
}

// count writes n with commas.
func count(n int64) string {
	s := strconv.FormatInt(n, 10)
	for i := len(s) - 3; i > 0 && s[i-1] != '-'; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

// plural writes a number of things.
func plural(n int64, what string) string {
	if n == 1 {
		return "1 " + what
	}
	if stem, ok := strings.CutSuffix(what, "y"); ok {
		return count(n) + " " + stem + "ies"
	}
	return count(n) + " " + what + "s"
}

// amount writes n with three digits and, from 10,000 on, k, M or G; it ends
// in a space or the unit's letter.
func amount(n float64) string {
	unit := ""
	for _, next := range []string{"k", "M", "G"} {
		if n < 999.5 || unit == "" && n < 9999.5 {
			break
		}
		n, unit = n/1000, next
	}
	switch {
	case n >= 99.95 || n == math.Trunc(n):
		return strconv.FormatFloat(n, 'f', 0, 64) + " " + unit
	case n >= 9.995:
		return strconv.FormatFloat(n, 'f', 1, 64) + " " + unit
	}
	return strconv.FormatFloat(n, 'f', 2, 64) + " " + unit
}

// rate is amount a second.
func rate(n float64) string { return strings.TrimSuffix(amount(n), " ") + "/s" }

func seconds(s float64) string { return strconv.FormatFloat(s, 'f', 2, 64) + " s" }

// millis writes a time of ms milliseconds.
func millis(ms float64) string {
	switch {
	case ms >= 9999.5:
		return strconv.FormatFloat(ms/1000, 'f', 1, 64) + " s"
	case ms >= 99.95:
		return strconv.FormatFloat(ms, 'f', 0, 64) + " ms"
	}
	return strconv.FormatFloat(ms, 'f', 2, 64) + " ms"
}

// bytesText writes a size in KiB or MiB.
func bytesText(n float64) string {
	if math.Abs(n) >= 1<<20 {
		return strconv.FormatFloat(n/(1<<20), 'f', 1, 64) + " MiB"
	}
	return strconv.FormatFloat(n/(1<<10), 'f', 2, 64) + " KiB"
}
