package main

import "math"

// Colors are lists of numbers: "hs" in degrees and percent, "xy" of CIE 1931, "rgb", "rgbw" and
// "rgbww" of 0 to 255.

// hsToRGB is the conversion of HSV at full value.
func hsToRGB(h, s float64) (r, g, b float64) {
	s /= 100
	channel := func(n float64) float64 {
		k := math.Mod(n+h/60, 6)
		return 255 * (1 - s*max(0, min(k, 4-k, 1)))
	}
	return math.Round(channel(5)), math.Round(channel(3)), math.Round(channel(1))
}

func rgbToHS(r, g, b float64) (h, s float64) {
	high, low := max(r, g, b), min(r, g, b)
	if high == low {
		return 0, 0
	}
	d := high - low
	switch high {
	case r:
		h = math.Mod((g-b)/d+6, 6)
	case g:
		h = (b-r)/d + 2
	default:
		h = (r-g)/d + 4
	}
	return roundTo(h*60, 3), roundTo(d/high*100, 3)
}

// rgbToXY and xyToRGB are the conversions that Philips publishes for Hue lamps, with
// their wide gamut (Home Assistant's too).
func rgbToXY(r, g, b float64) (x, y float64) {
	linear := func(c float64) float64 {
		if c /= 255; c > 0.04045 {
			return math.Pow((c+0.055)/1.055, 2.4)
		}
		return c / 12.92
	}
	r, g, b = linear(r), linear(g), linear(b)
	X := r*0.664511 + g*0.154324 + b*0.162028
	Y := r*0.283881 + g*0.668433 + b*0.047685
	Z := r*0.000088 + g*0.072310 + b*0.986039
	if X+Y+Z == 0 {
		return 0, 0
	}
	return roundTo(X/(X+Y+Z), 3), roundTo(Y/(X+Y+Z), 3)
}

func xyToRGB(x, y float64) (r, g, b float64) {
	if y == 0 {
		y += 1e-11
	}
	X, Z := x/y, (1-x-y)/y
	r = X*1.656492 - 0.354851 - Z*0.255038
	g = -X*0.707196 + 1.655397 + Z*0.036152
	b = X*0.051713 - 0.121364 + Z*1.011530
	gamma := func(c float64) float64 {
		if c <= 0.0031308 {
			return 12.92 * c
		}
		return 1.055*math.Pow(c, 1/2.4) - 0.055
	}
	r, g, b = max(0, gamma(r)), max(0, gamma(g)), max(0, gamma(b))
	if high := max(r, g, b); high > 1 {
		r, g, b = r/high, g/high, b/high
	}
	return math.Trunc(r * 255), math.Trunc(g * 255), math.Trunc(b * 255)
}

// miredsOf converts a color temperature; it is its own inverse.
func miredsOf(kelvin float64) float64 { return math.Floor(1e6 / kelvin) }

// toRGB converts a color of any kind to rgb.
func toRGB(kind string, c []float64) []float64 {
	switch kind {
	case "hs":
		r, g, b := hsToRGB(c[0], c[1])
		return []float64{r, g, b}
	case "xy":
		r, g, b := xyToRGB(c[0], c[1])
		return []float64{r, g, b}
	case "rgbw":
		return withWhite(c[:3], c[3])
	case "rgbww":
		return withWhite(c[:3], max(c[3], c[4]))
	}
	return c
}

// withWhite adds white light to a color, at the brightness of its brightest part.
func withWhite(c []float64, w float64) []float64 {
	high := max(c[0], c[1], c[2], w)
	sum := []float64{c[0] + w, c[1] + w, c[2] + w}
	if most := max(sum[0], sum[1], sum[2]); most > 0 {
		for i := range sum {
			sum[i] = math.Round(sum[i] * high / most)
		}
	}
	return sum
}

// fromRGB converts rgb to a color of any kind.
func fromRGB(kind string, c []float64) []float64 {
	switch kind {
	case "hs":
		h, s := rgbToHS(c[0], c[1], c[2])
		return []float64{h, s}
	case "xy":
		x, y := rgbToXY(c[0], c[1], c[2])
		return []float64{x, y}
	case "rgbw":
		w := min(c[0], c[1], c[2])
		return []float64{c[0] - w, c[1] - w, c[2] - w, w}
	case "rgbww":
		w := min(c[0], c[1], c[2])
		return []float64{c[0] - w, c[1] - w, c[2] - w, w, w}
	}
	return c
}

// kelvinToRGB is the color of a black body, for lamps that have no white of
// their own. The approximation is Tanner Helland's.
func kelvinToRGB(kelvin float64) []float64 {
	t := min(max(kelvin, 1000), 40000) / 100
	r, b := 255.0, 255.0
	var g float64
	if t > 66 {
		r = 329.698727446 * math.Pow(t-60, -0.1332047592)
		g = 288.1221695283 * math.Pow(t-60, -0.0755148492)
	} else {
		g = 99.4708025861*math.Log(t) - 161.1195681661
	}
	switch {
	case t <= 19:
		b = 0
	case t < 66:
		b = 138.5177312231*math.Log(t-10) - 305.0447927307
	}
	clamp := func(x float64) float64 { return math.Round(min(max(x, 0), 255)) }
	return []float64{clamp(r), clamp(g), clamp(b)}
}
