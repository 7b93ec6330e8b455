package main

import (
	"bytes"
	"math"
	"strings"
	"testing"
)

// layouts are the orders of the bytes on the wire, by how many there are, as the letters tell that
// people use: A is the most significant byte.
var layouts = map[string]map[int]string{
	"ABCD": {2: "AB", 4: "ABCD", 8: "ABCDEFGH"},
	"CDAB": {2: "AB", 4: "CDAB", 8: "GHEFCDAB"},
	"BADC": {2: "BA", 4: "BADC", 8: "BADCFEHG"},
	"DCBA": {2: "BA", 4: "DCBA", 8: "HGFEDCBA"},
}

func TestTypesInAllOrders(t *testing.T) {
	for _, test := range []struct {
		kind  string
		bytes []byte // most significant first
		want  string
		value float64
	}{
		{"uint16", []byte{0xff, 0xfe}, "65534", 65534},
		{"int16", []byte{0xff, 0xfe}, "-2", -2},
		{"uint32", []byte{0x80, 0x01, 0x02, 0x03}, "2147549699", 2147549699},
		{"int32", []byte{0x80, 0x01, 0x02, 0x03}, "-2147417597", -2147417597},
		{"uint64", []byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xfd}, "18446744073709551613", 1.8446744073709552e19},
		{"int64", []byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xfd}, "-3", -3},
		{"int64", []byte{0x00, 0x20, 0x00, 0x00, 0x00, 0x00, 0x00, 0x01}, "9007199254740993", 9007199254740992}, // more than a float64 holds
		{"float32", []byte{0x41, 0xac, 0x00, 0x00}, "21.5", 21.5},
		{"float32", []byte{0x43, 0x66, 0x1d, 0x71}, "230.115", 230.11500549316406},
		{"float32", []byte{0x7f, 0xc0, 0x00, 0x00}, "unknown", math.NaN()},
		{"float32", []byte{0x7f, 0x7f, 0xff, 0xff}, "3.4028234663852886e+38", math.MaxFloat32},
		{"float64", []byte{0x40, 0x35, 0x80, 0x00, 0x00, 0x00, 0x00, 0x00}, "21.5", 21.5},
		{"float64", []byte{0xff, 0xf0, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00}, "unknown", math.Inf(-1)},
		{"float64", []byte{0x80, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00}, "0", math.Copysign(0, -1)},
		{"float32", []byte{0x00, 0x00, 0x00, 0x01}, "0", math.SmallestNonzeroFloat32},
	} {
		for name, layout := range layouts {
			var wire []byte
			for _, letter := range layout[len(test.bytes)] {
				wire = append(wire, test.bytes[letter-'A'])
			}
			p := &point{kind: kinds[test.kind], order: orders[name], length: len(wire) / 2, bit: -1, scale: 1, precision: -1,
				low: math.Inf(-1), high: math.Inf(1)}
			if got, _ := p.state(wire, 0); got != test.want {
				t.Errorf("%s %s % x: got %s, want %s", test.kind, name, wire, got, test.want)
			}
			if got := p.kind.number(p.order.join(wire)); got != test.value && !(math.IsNaN(got) && math.IsNaN(test.value)) {
				t.Errorf("%s %s % x: got %v, want %v", test.kind, name, wire, got, test.value)
			}
			if got := p.order.split(p.order.join(wire), p.length); !bytes.Equal(got, wire) {
				t.Errorf("%s %s % x and back: got % x", test.kind, name, wire, got)
			}
			if strings.HasSuffix(test.kind, "64") && math.Abs(test.value) >= 1<<53 || math.IsNaN(test.value) || math.IsInf(test.value, 0) {
				continue
			}
			if bits, ok := p.kind.bits(test.value); !ok || !bytes.Equal(p.order.split(bits, p.length), wire) {
				t.Errorf("writing %v as %s %s: got % x, %v, want % x", test.value, test.kind, name, p.order.split(bits, p.length), ok, wire)
			}
		}
	}
}

func TestNumbersThatDontFit(t *testing.T) {
	for _, test := range []struct {
		kind string
		x    float64
		ok   bool
	}{
		{"int16", 32767, true}, {"int16", 32767.4, true}, {"int16", 32767.5, false}, {"int16", -32768, true}, {"int16", -32769, false},
		{"uint16", -1, false}, {"uint16", 65535, true}, {"uint16", 65536, false}, {"int64", 1 << 62, true}, {"int64", 1 << 63, false},
		{"int64", -1 << 63, true}, {"uint64", 1 << 64, false}, {"uint64", math.NaN(), false}, {"float32", 1e39, false}, {"float32", 3e38, true},
		{"float64", math.Inf(1), false}, {"uint32", 4294967295, true},
	} {
		if _, ok := kinds[test.kind].bits(test.x); ok != test.ok {
			t.Errorf("%v as %s: got %v, want %v", test.x, test.kind, ok, test.ok)
		}
	}
}

func TestFormat(t *testing.T) {
	for _, test := range []struct {
		x         float64
		precision int
		want      string
	}{
		{21.456, 1, "21.5"}, {21.456, 0, "21"}, {21.456, -1, "21.456"}, {-0.04, 1, "0.0"}, {math.Copysign(0, -1), -1, "0"}, {100, -1, "100"}, {1e15, 2, "1e+15"},
		{-3e300, 9, "-3e+300"}, {1.0 / 3, -1, "0.333333"}, {0, 0, "0"}, {999999999999999, 0, "999999999999999"},
	} {
		if got := format(test.x, test.precision); got != test.want {
			t.Errorf("%v with %d decimals: got %s, want %s", test.x, test.precision, got, test.want)
		}
	}
}

func TestText(t *testing.T) {
	for _, test := range []struct {
		order, wire, want string
	}{
		{"ABCD", "SDM630\x00\x00junk", "SDM630"}, {"BADC", "DS6M03\x00\x00", "SDM630"}, {"ABCD", "  V1.2  ", "V1.2"},
		{"ABCD", "a\x01b\xffcd", "ab�cd"}, {"ABCD", "\x00\x00", ""}, {"ABCD", "Wärme ", "Wärme"},
	} {
		if got := orders[test.order].text([]byte(test.wire)); got != test.want {
			t.Errorf("%s %q: got %q, want %q", test.order, test.wire, got, test.want)
		}
	}
}

// Whatever a device sends, a state is short and well formed.
func FuzzState(f *testing.F) {
	f.Add([]byte("SDM630\x00\x00"), 1.0, 0.0, -1)
	f.Add([]byte{0xff, 0xf0, 0, 0, 0, 0, 0, 1}, 1e-300, 1e300, 9)
	f.Add([]byte{0x7f, 0xef, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff}, 1e308, -1e308, 9)
	f.Fuzz(func(t *testing.T, data []byte, scale, offset float64, precision int) {
		data = append(data, make([]byte, 8)...)
		for name, k := range kinds {
			for _, o := range orders {
				p := &point{domain: "sensor", kind: k, order: o, length: max(k.registers, 1), bit: -1, scale: scale, offset: offset,
					precision: max(-1, precision%10), low: math.Inf(-1), high: math.Inf(1), isText: name == "string"}
				if p.isText {
					p.length = min(len(data)/2, mostRegisters)
				}
				got, _ := p.state(data, 0)
				if got == "" || len([]rune(got)) > 255 || strings.ToValidUTF8(got, "") != got {
					t.Errorf("%s of % x: got %q, which is no state", name, data, got)
				}
			}
		}
	})
}
