package main

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// A table is one of the four address spaces of a device, as the Modbus Application Protocol Specification
// V1.1b3, section 4.3, has them.
type table string

const (
	holding  table = "holding"
	input    table = "input"
	coil     table = "coil"
	discrete table = "discrete"
)

// bits reports whether the table has bits, not registers of 16 of them.
func (t table) bits() bool { return t == coil || t == discrete }

// read is the function code that reads the table.
func (t table) read() byte {
	return map[table]byte{coil: 1, discrete: 2, holding: 3, input: 4}[t]
}

// Function codes that write.
const (
	writeCoil      = 5
	writeRegister  = 6
	writeCoils     = 15
	writeRegisters = 16
	maskRegister   = 22
)

// The most that one request may read, by the specification.
const (
	mostRegisters = 125
	mostBits      = 2000
)

// A request is what is asked of a unit, and what its answer must look like.
type request struct {
	function byte
	body     []byte // behind the function code
	data     int    // bytes that a read brings; 0: the answer repeats the first bytes of the body
	echo     int    // how many
}

// readOf makes a request that reads count registers or bits.
func readOf(t table, start uint16, count int) request {
	data := 2 * count
	if t.bits() {
		data = (count + 7) / 8
	}
	body := binary.BigEndian.AppendUint16(nil, start)
	return request{function: t.read(), body: binary.BigEndian.AppendUint16(body, uint16(count)), data: data}
}

// writeOf makes a request that writes registers, or one coil, which is its data: 0 or 1.
func writeOf(function byte, start uint16, data []byte) request {
	body := binary.BigEndian.AppendUint16(nil, start)
	switch function {
	case writeCoil:
		return request{function: function, body: append(body, data[0]*0xff, 0), echo: 4} // on is FF00
	case writeCoils:
		return request{function: function, body: append(body, 0, 1, 1, data[0]), echo: 4}
	case writeRegister:
		return request{function: function, body: append(body, data...), echo: 4}
	}
	body = binary.BigEndian.AppendUint16(body, uint16(len(data)/2))
	return request{function: writeRegisters, body: append(append(body, byte(len(data))), data...), echo: 4}
}

// maskOf makes a request that changes the bits of a register that and has not, to what or has.
func maskOf(start, and, or uint16) request {
	body := binary.BigEndian.AppendUint16(nil, start)
	body = binary.BigEndian.AppendUint16(body, and)
	return request{function: maskRegister, body: binary.BigEndian.AppendUint16(body, or), echo: 6}
}

// writes reports whether the request changes the device.
func (r *request) writes() bool { return r.data == 0 }

// answer returns the data of an answer without unit and checksum. Its error is an exception, if the device
// refuses, or errProtocol.
func (r *request) answer(pdu []byte) ([]byte, error) {
	switch {
	case len(pdu) == 2 && pdu[0] == r.function|0x80:
		return nil, exception(pdu[1])
	case len(pdu) == 0 || pdu[0] != r.function:
		return nil, fmt.Errorf("%w: an answer to another function", errProtocol)
	case r.writes():
		if string(pdu[1:]) != string(r.body[:r.echo]) {
			return nil, fmt.Errorf("%w: it confirms something else than what was written", errProtocol)
		}
		return nil, nil
	case len(pdu) != 2+r.data || int(pdu[1]) != r.data:
		return nil, fmt.Errorf("%w: %d bytes of data were asked for, and %d came", errProtocol, r.data, len(pdu)-2)
	}
	return pdu[2:], nil
}

// errProtocol says that what came is no answer to what was asked.
var errProtocol = errors.New("the device breaks the protocol")

// An exception is the code with which a device, or a gateway before it, refuses a request.
type exception byte

const (
	illegalFunction  exception = 1
	illegalAddress   exception = 2
	illegalValue     exception = 3
	deviceFailure    exception = 4
	noGatewayPath    exception = 10
	noGatewayAnswer  exception = 11
	acknowledge      exception = 5
	deviceBusy       exception = 6
	memoryParity     exception = 8
	exceptionPattern           = "the device refuses it: %s (exception %d)"
)

var exceptionText = map[exception]string{
	illegalFunction: "it doesn't know the function", illegalAddress: "illegal data address", illegalValue: "illegal data value",
	deviceFailure: "it failed to do it", acknowledge: "it needs longer", deviceBusy: "it is busy", memoryParity: "its memory is damaged",
	noGatewayPath: "the gateway has no way to the unit", noGatewayAnswer: "the unit doesn't answer the gateway",
}

func (e exception) Error() string {
	text := exceptionText[e]
	if text == "" {
		text = "for a reason of its own"
	}
	return fmt.Sprintf(exceptionPattern, text, byte(e))
}

// absent reports whether a gateway says that there is no device.
func (e exception) absent() bool { return e == noGatewayPath || e == noGatewayAnswer }

// passing reports whether the device says that it is at work, and takes the request later. To a write, acknowledge
// says that it was taken (section 7 of the specification).
func (e exception) passing() bool { return e == acknowledge || e == deviceBusy }

// lasting reports whether it is the request that is wrong, not the moment. Some devices say 4 for a register
// that they don't have, and some 3 for more of them than they send at once.
func (e exception) lasting() bool { return e >= illegalFunction && e <= deviceFailure }
