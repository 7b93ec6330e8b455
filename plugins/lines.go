package plugins

import (
	"bufio"
	"io"
	"strings"
)

// readLines calls fn for each line of r, cut to maxLine bytes; more is how many bytes
// were cut.
func readLines(r io.Reader, fn func(line string, more int)) {
	in := bufio.NewReader(r)
	s := splitter{fn: fn}
	for {
		part, err := in.ReadSlice('\n')
		s.Write(part)
		if err != nil && err != bufio.ErrBufferFull {
			s.end()
			return
		}
	}
}

// A splitter cuts what is written into lines, of which it holds maxLine bytes.
type splitter struct {
	fn func(line string, more int)

	line []byte
	more int
}

// Write implements io.Writer; it never fails.
func (s *splitter) Write(p []byte) (int, error) {
	n := len(p)
	for len(p) > 0 {
		part, rest, whole := p, []byte(nil), false
		for i, c := range p {
			if c == '\n' {
				part, rest, whole = p[:i], p[i+1:], true
				break
			}
		}
		room := min(len(part), maxLine-len(s.line))
		s.line = append(s.line, part[:room]...)
		s.more += len(part) - room
		if whole {
			s.end()
		}
		p = rest
	}
	return n, nil
}

// end tells of the line that was begun.
func (s *splitter) end() {
	if line := strings.TrimRight(strings.ToValidUTF8(string(s.line), "\uFFFD"), "\r"); line != "" || s.more > 0 {
		s.fn(line, s.more)
	}
	s.line, s.more = s.line[:0], 0
}
