package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"testing"

	"carillon/plugins/adapter"
)

// configured returns the point of a configuration of one entity.
func configured(t *testing.T, entity string) *point {
	t.Helper()
	devices, err := readSettings(adapter.Config{JSON: json.RawMessage(one(entity))})
	if err != nil {
		t.Fatal(err)
	}
	return devices[0].points[0]
}

func TestStates(t *testing.T) {
	for _, test := range []struct {
		entity string // besides id, table and address
		raw    uint16
		want   string
	}{
		{`"scale": 0.1`, 215, "21.5"}, {`"scale": 0.1, "precision": 0`, 217, "22"}, {`"scale": 0.01, "offset": -40`, 6150, "21.50"},
		{`"type": "int16", "scale": -1`, 0xffff, "1"}, {`"scale": 1000`, 5, "5000"}, {`"precision": 2`, 5, "5.00"},
		{`"min": 0, "max": 100`, 100, "100"}, {`"min": 0, "max": 100`, 101, "unknown"}, {`"type": "int16", "min": -5`, 0xfffa, "unknown"},
		{`"invalid": [0, 65535]`, 65535, "unknown"}, {`"type": "int16", "invalid": [-1]`, 65535, "unknown"}, {`"invalid": [0]`, 1, "1"},
		{`"map": {"0": "off", "0x10": "on"}`, 16, "on"}, {`"map": {"0": "off"}`, 1, "unknown"}, {`"type": "int16", "map": {"-2": "cold"}`, 0xfffe, "cold"},
		{`"bit": 15`, 0x8000, "on"}, {`"bit": 0`, 0x8000, "off"}, {`"bit": 7, "order": "BADC"`, 0x8000, "on"}, {`"bit": 3, "map": {"0": "day", "1": "night"}`, 8, "night"},
		{`"type": "bool"`, 7, "on"}, {`"type": "bool", "on_value": 7`, 8, "unknown"}, {`"type": "bool", "on_value": 0, "off_value": 1`, 0, "on"},
		{`"order": "DCBA"`, 0x0102, "513"},
	} {
		p := configured(t, `{"id": "sensor.a", "table": "holding", "address": 0, `+test.entity+`}`)
		if got, _ := p.state([]byte{byte(test.raw >> 8), byte(test.raw)}, 0); got != test.want {
			t.Errorf("%s, raw %#04x: got %s, want %s", test.entity, test.raw, got, test.want)
		}
	}
}

func TestSettingNumbers(t *testing.T) {
	for _, test := range []struct {
		entity string // besides id, table and address
		value  float64
		want   string // the bits in hexadecimal, or the error
	}{
		{`"scale": 0.1`, 21.5, "d7"}, {`"scale": 0.1`, 21.44, "d6"}, {`"type": "int16", "offset": 10`, 9, "ffff"}, {`"scale": 0.1, "min": 5`, 4.9, "it can be set to 5 to 6553.5, not to 4.9"},
		{`"type": "uint64"`, 2e19, "it can be set to 0 to 1.8446744073709552e+19, not to 2e+19"}, {`"type": "float32"`, 1e39, "it can't be 1e+39: its register doesn't hold that"},
		{`"type": "float32", "max": 5`, 5.5, "it can be set to 5 at most, not to 5.5"}, {`"type": "float32"`, 21.5, "41ac0000"},
		{`"type": "float32", "min": 5`, 4, "it can be set to 5 at least, not to 4"},
	} {
		p := configured(t, `{"id": "number.a", "table": "holding", "address": 0, `+test.entity+`}`)
		bits, err := p.bitsOf(test.value)
		got := fmt.Sprintf("%x", bits)
		if err != nil {
			got = err.Error()
		}
		if got != test.want {
			t.Errorf("%s to %v: got %s, want %s", test.entity, test.value, got, test.want)
		}
	}
}

// What confirms a write must repeat it.
func TestConfirmations(t *testing.T) {
	for _, test := range []struct {
		r    request
		pdu  []byte
		want error
	}{
		{writeOf(writeCoil, 5, []byte{1}), []byte{5, 0, 5, 0xff, 0}, nil},
		{writeOf(writeCoil, 5, []byte{1}), []byte{5, 0, 5, 0, 0}, errProtocol},
		{writeOf(writeRegister, 5, []byte{1, 2}), []byte{6, 0, 5, 1, 2}, nil},
		{writeOf(writeRegister, 5, []byte{1, 2}), []byte{6, 0, 6, 1, 2}, errProtocol},
		{writeOf(writeRegister, 5, []byte{1, 2}), []byte{6, 0, 5, 1}, errProtocol},
		{writeOf(writeRegisters, 5, []byte{1, 2, 3, 4}), []byte{16, 0, 5, 0, 2}, nil},
		{writeOf(writeRegisters, 5, []byte{1, 2, 3, 4}), []byte{16, 0, 5, 0, 1}, errProtocol},
		{writeOf(writeCoils, 5, []byte{1}), []byte{15, 0, 5, 0, 1}, nil},
		{maskOf(5, 0xfffe, 1), []byte{22, 0, 5, 0xff, 0xfe, 0, 1}, nil},
		{maskOf(5, 0xfffe, 1), []byte{22, 0, 5, 0xff, 0xfe, 0, 0}, errProtocol},
		{maskOf(5, 0xfffe, 1), []byte{0x96, 1}, illegalFunction},
		{maskOf(5, 0xfffe, 1), nil, errProtocol},
	} {
		if _, err := test.r.answer(test.pdu); !errors.Is(err, test.want) {
			t.Errorf("% x to function %d: got %v, want %v", test.pdu, test.r.function, err, test.want)
		}
	}
}
