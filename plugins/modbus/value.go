package main

import (
	"math"
	"strconv"
	"strings"
	"unicode"
)

// A kind is how registers make a value.
type kind struct {
	registers     int
	signed, float bool
}

// kinds are the types of the configuration. How long a string is, is configured.
var kinds = map[string]kind{
	"bool": {registers: 1}, "uint16": {registers: 1}, "uint32": {registers: 2}, "uint64": {registers: 4},
	"int16": {1, true, false}, "int32": {2, true, false}, "int64": {4, true, false},
	"string":  {},
	"float32": {2, true, true}, "float64": {4, true, true},
}

// An order says where the bytes of a value are. ABCD is big-endian, as the specification has it; for other
// lengths the names say the same of words and of the bytes in a word.
type order struct{ swapWords, swapBytes bool }

var orders = map[string]order{
	"ABCD": {}, "CDAB": {swapWords: true}, "BADC": {swapBytes: true}, "DCBA": {swapWords: true, swapBytes: true},
}

// join makes one number of the bytes of up to four registers.
func (o order) join(b []byte) (bits uint64) {
	n := len(b) / 2
	for i := range n {
		word := i
		if o.swapWords {
			word = n - 1 - i
		}
		high, low := b[2*word], b[2*word+1]
		if o.swapBytes {
			high, low = low, high
		}
		bits = bits<<16 | uint64(high)<<8 | uint64(low)
	}
	return bits
}

// split is the reverse of join, for n registers.
func (o order) split(bits uint64, n int) []byte {
	b := make([]byte, 2*n)
	for i := range n {
		word := n - 1 - i
		if o.swapWords {
			word = i
		}
		high, low := byte(bits>>(16*i+8)), byte(bits>>(16*i))
		if o.swapBytes {
			high, low = low, high
		}
		b[2*word], b[2*word+1] = high, low
	}
	return b
}

// text makes a text of registers, without the zeros and spaces that fill them.
func (o order) text(b []byte) string {
	swapped := make([]byte, 0, len(b))
	for i := 0; i+1 < len(b); i += 2 {
		if o.swapBytes {
			swapped = append(swapped, b[i+1], b[i])
		} else {
			swapped = append(swapped, b[i], b[i+1])
		}
	}
	text, _, _ := strings.Cut(string(swapped), "\x00")
	text = strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return -1
		}
		return r
	}, strings.ToValidUTF8(text, "�"))
	return strings.TrimSpace(text)
}

// integer returns the integer that the bits are.
func (k kind) integer(bits uint64) int64 {
	shift := 64 - 16*k.registers
	if k.signed {
		return int64(bits<<shift) >> shift
	}
	return int64(bits)
}

// number returns the number that the bits are.
func (k kind) number(bits uint64) float64 {
	switch {
	case k.float && k.registers == 2:
		return float64(math.Float32frombits(uint32(bits)))
	case k.float:
		return math.Float64frombits(bits)
	case k.signed:
		return float64(k.integer(bits))
	}
	return float64(bits)
}

// bits returns the bits that a number is, the nearest that there are. It reports whether they
// can be that number.
func (k kind) bits(x float64) (uint64, bool) {
	if math.IsNaN(x) || math.IsInf(x, 0) {
		return 0, false
	}
	switch {
	case k.float && k.registers == 2:
		f := float32(x)
		return uint64(math.Float32bits(f)), !math.IsInf(float64(f), 0)
	case k.float:
		return math.Float64bits(x), true
	}
	low, high := k.limits()
	if x = math.RoundToEven(x); x < low || x > high || x == high && k.registers == 4 {
		return 0, false // a float64 can't tell the greatest of 64 bits from what is beyond
	}
	if x < 0 {
		return uint64(int64(x)) & (math.MaxUint64 >> (64 - 16*k.registers)), true
	}
	return uint64(x), true
}

// limits returns the least and the greatest integer.
func (k kind) limits() (low, high float64) {
	n := 16 * k.registers
	if k.signed {
		return -math.Ldexp(1, n-1), math.Ldexp(1, n-1) - 1
	}
	return 0, math.Ldexp(1, n) - 1
}

// decimals returns how many digits behind the point a number has, 9 at most.
func decimals(x float64) int {
	_, fraction, _ := strings.Cut(strconv.FormatFloat(x, 'f', -1, 64), ".")
	return min(len(fraction), 9)
}

// manyDigits is from where on a number is written with an exponent: states are short.
const manyDigits = 1e15

// format writes a number. Precision is how many digits behind the point; negative: as many as it has, up to 6.
func format(x float64, precision int) string {
	if math.Abs(x) >= manyDigits {
		return strconv.FormatFloat(x, 'g', -1, 64)
	}
	digits := precision
	if precision < 0 {
		digits = 6
	}
	text := strconv.FormatFloat(x, 'f', digits, 64)
	if precision < 0 {
		text = strings.TrimRight(strings.TrimRight(text, "0"), ".")
	}
	if strings.Trim(text, "-0.") == "" { // no negative zero
		return strings.TrimPrefix(text, "-")
	}
	return text
}
