package sse

import (
	"math"
	"strconv"
)

// maxEpoch is the longest epoch in bytes: with the longest sequence, an id
// stays far under the 128 bytes above which a reconnecting browser needs a
// CORS preflight for its Last-Event-ID header.
const maxEpoch = 64

// FormatID returns the id of the event seq of the journal epoch: "<epoch>-<seq>".
func FormatID(epoch string, seq uint64) string {
	return string(AppendSeqID(make([]byte, 0, len(epoch)+21), epoch, seq))
}

// AppendSeqID appends the id <epoch>-<seq>: the text alone, not a frame.
func AppendSeqID(dst []byte, epoch string, seq uint64) []byte {
	dst = append(dst, epoch...)
	dst = append(dst, '-')
	return strconv.AppendUint(dst, seq, 10)
}

// ParseID takes an id of the form <epoch>-<seq> apart. The epoch is 1 to 64
// of a-z and 0-9; the sequence is decimal, 0 to 2^64-1, without sign or
// leading zeros. ok is false for everything else: such an id is from another
// server, and never half right.
func ParseID(s string) (epoch string, seq uint64, ok bool) {
	i := 0
	for i < len(s) && (s[i] >= 'a' && s[i] <= 'z' || s[i] >= '0' && s[i] <= '9') {
		i++
	}
	if i == 0 || i > maxEpoch || i == len(s) || s[i] != '-' {
		return "", 0, false
	}
	seq, ok = parseUint(s[i+1:])
	if !ok || s[i+1] == '0' && len(s) > i+2 {
		return "", 0, false
	}
	return s[:i], seq, true
}

// parseUint parses one or more ASCII digits; ok is false on anything else and
// beyond 64 bits. strconv.ParseUint would allocate an error for each bad id.
func parseUint[T string | []byte](s T) (n uint64, ok bool) {
	if len(s) == 0 {
		return 0, false
	}
	for i := range len(s) {
		d := uint64(s[i]) - '0'
		if d > 9 || n > math.MaxUint64/10 || n == math.MaxUint64/10 && d > math.MaxUint64%10 {
			return 0, false
		}
		n = n*10 + d
	}
	return n, true
}
