package main

import (
	"encoding/binary"
	"fmt"
)

// Frames are as "MODBUS Messaging on TCP/IP Implementation Guide V1.0b", section 3.1.3, and "MODBUS over
// Serial Line V1.02", section 2.5.1, have them.
const (
	tcpHeader = 7   // transaction, protocol, length, unit
	maxPDU    = 253 // bytes
	maxRTU    = 256 // bytes
)

// tcpFrame puts a request into a frame of Modbus TCP.
func tcpFrame(transaction uint16, unit byte, r *request) []byte {
	b := binary.BigEndian.AppendUint16(nil, transaction)
	b = binary.BigEndian.AppendUint16(b, 0)
	b = binary.BigEndian.AppendUint16(b, uint16(2+len(r.body)))
	return append(append(b, unit, r.function), r.body...)
}

// rtuFrame puts a request into a frame of Modbus RTU.
func rtuFrame(unit byte, r *request) []byte {
	b := append([]byte{unit, r.function}, r.body...)
	return binary.LittleEndian.AppendUint16(b, crc(b))
}

// takeTCP takes the first frame off b. It returns a nil pdu, without an error, if that is not whole yet.
func takeTCP(b []byte) (transaction uint16, unit byte, pdu, rest []byte, err error) {
	if len(b) < tcpHeader {
		return 0, 0, nil, b, nil
	}
	length := int(binary.BigEndian.Uint16(b[4:]))
	switch {
	case binary.BigEndian.Uint16(b[2:]) != 0:
		return 0, 0, nil, nil, fmt.Errorf("%w: no frame of Modbus TCP; is it rtu_over_tcp?", errProtocol)
	case length < 2 || length > 1+maxPDU:
		return 0, 0, nil, nil, fmt.Errorf("%w: a frame of %d bytes", errProtocol, length)
	case len(b) < 6+length:
		return 0, 0, nil, b, nil
	}
	return binary.BigEndian.Uint16(b), b[6], b[tcpHeader : 6+length], b[6+length:], nil
}

// takeRTU returns what of b is the answer to a request: RTU frames don't tell their length, so it follows from
// what was asked. It returns a nil pdu, without an error, if that is not whole yet.
func takeRTU(b []byte, unit byte, r *request) (pdu []byte, err error) {
	if len(b) < 3 {
		return nil, nil
	}
	length := 2 + r.echo
	switch {
	case b[0] != unit:
		return nil, fmt.Errorf("%w: unit %d answers", errProtocol, b[0])
	case b[1] == r.function|0x80:
		length = 3
	case b[1] != r.function:
		return nil, fmt.Errorf("%w: an answer to another function", errProtocol)
	case !r.writes():
		if int(b[2]) != r.data {
			return nil, fmt.Errorf("%w: %d bytes of data were asked for, and %d come", errProtocol, r.data, b[2])
		}
		length = 3 + r.data
	}
	if len(b) < length+2 {
		return nil, nil
	}
	if crc(b[:length]) != binary.LittleEndian.Uint16(b[length:]) {
		return nil, fmt.Errorf("%w: the checksum is wrong; is it tcp?", errProtocol)
	}
	return b[1:length], nil
}

// crc returns the checksum of an RTU frame, as "MODBUS over Serial Line V1.02", section 6.2.2, has it.
func crc(b []byte) uint16 {
	sum := uint16(0xffff)
	for _, x := range b {
		sum ^= uint16(x)
		for range 8 {
			if sum&1 == 1 {
				sum = sum>>1 ^ 0xa001
			} else {
				sum >>= 1
			}
		}
	}
	return sum
}
