package main

import (
	"math"
	"strconv"
	"strings"
)

// parseNumber reads a finite number as Python's float does, without underscores
// and hexadecimal.
func parseNumber(text string) (float64, bool) {
	text = strings.TrimSpace(text)
	if strings.ContainsAny(text, "xX_pP") {
		return 0, false
	}
	x, err := strconv.ParseFloat(text, 64)
	return x, err == nil && !math.IsNaN(x) && !math.IsInf(x, 0)
}

// isNaN reports whether a text is one of the numbers that are none: devices send
// them for a sensor that has no value.
func isNaN(text string) bool {
	x, err := strconv.ParseFloat(strings.TrimSpace(text), 64)
	return err == nil && (math.IsNaN(x) || math.IsInf(x, 0))
}

// formatNumber writes a number without an exponent or a needless point: 21, 21.5.
func formatNumber(x float64) string { return strconv.FormatFloat(x, 'f', -1, 64) }

// pythonNumber writes a number as Home Assistant does: whole ones that were written
// without a point without one, others with at least one decimal.
func pythonNumber(text string, x float64) string {
	short := formatNumber(x)
	if strings.ContainsAny(text, ".eE") && !strings.Contains(short, ".") {
		return short + ".0"
	}
	return short
}

// round rounds halves to even, as Python does.
func round(x float64) float64 { return math.RoundToEven(x) }

// roundTo rounds to so many decimals.
func roundTo(x float64, decimals int) float64 {
	scale := math.Pow10(decimals)
	return math.RoundToEven(x*scale) / scale
}
