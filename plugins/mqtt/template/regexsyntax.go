package template

import (
	"errors"
	"fmt"
	"regexp"
	"regexp/syntax"
	"strconv"
	"strings"
	"unicode"
)

const maxInstructions = 2000 // of a compiled regular expression, about

// Python's classes, which are not limited to ASCII, in RE2's words.
const (
	wordClass  = `\p{L}\p{N}_`
	spaceClass = `\t-\r\x1c-\x20\x85\p{Z}`
)

// compilePattern compiles a Python pattern for RE2, which matches in linear time.
// What the two don't have in common is an error.
func compilePattern(text string, ignoreCase bool) (*pattern, error) {
	p, err := parsePattern(text, ignoreCase)
	if err != nil {
		return nil, err
	}
	if p.re, err = regexp.Compile(p.translated); err == nil {
		p.anchored, err = regexp.Compile(`\A(?:` + p.translated + `)`)
	}
	if err != nil {
		return nil, fmt.Errorf("the regular expression %.100q: %w", text, err)
	}
	return p, nil
}

// parsePattern does all of that but for what takes time.
func parsePattern(text string, ignoreCase bool) (*pattern, error) {
	if len(text) > maxPattern {
		return nil, fmt.Errorf("a regular expression of more than %d bytes", maxPattern)
	}
	t := translator{text: text}
	if err := t.run(); err != nil {
		return nil, fmt.Errorf("the regular expression %.100q: %w", text, err)
	}
	translated := t.out.String()
	if ignoreCase {
		translated = "(?i)" + translated
	}
	parsed, err := syntax.Parse(translated, syntax.Perl)
	if err != nil {
		return nil, fmt.Errorf("the regular expression %.100q: %w", text, err)
	}
	cost := instructions(parsed)
	if cost > maxInstructions {
		return nil, fmt.Errorf("the regular expression %.100q is too large", text)
	}
	return &pattern{translated: translated, cost: cost, dollar: t.dollar, boundary: t.boundary, empty: mayBeEmpty(parsed)}, nil
}

// instructions is about how many instructions a pattern compiles to, repetitions
// written out.
func instructions(re *syntax.Regexp) int {
	n := 1
	for _, sub := range re.Sub {
		n += instructions(sub)
	}
	switch re.Op {
	case syntax.OpLiteral, syntax.OpCharClass:
		n += len(re.Rune) / 8
		if re.Op == syntax.OpLiteral {
			n += len(re.Rune)
		}
	case syntax.OpRepeat:
		n *= max(re.Min, re.Max, 1)
	}
	return min(n, maxInstructions+1)
}

func mayBeEmpty(re *syntax.Regexp) bool {
	switch re.Op {
	case syntax.OpLiteral:
		return len(re.Rune) == 0
	case syntax.OpCharClass, syntax.OpAnyChar, syntax.OpAnyCharNotNL, syntax.OpNoMatch:
		return false
	case syntax.OpStar, syntax.OpQuest:
		return true
	case syntax.OpPlus, syntax.OpCapture:
		return mayBeEmpty(re.Sub[0])
	case syntax.OpRepeat:
		return re.Min == 0 || mayBeEmpty(re.Sub[0])
	case syntax.OpConcat:
		for _, sub := range re.Sub {
			if !mayBeEmpty(sub) {
				return false
			}
		}
		return true
	case syntax.OpAlternate:
		for _, sub := range re.Sub {
			if mayBeEmpty(sub) {
				return true
			}
		}
		return false
	}
	return true
}

// found are the matches one after the other. Python and RE2 agree on them where
// none is empty.
func (e *env) found(p *pattern, text string) [][]int {
	if p.empty {
		e.failf("regular expressions that match the empty text are supported in match and search only")
	}
	if p.cost*len(text)*len(text) > maxVisits {
		e.failf("a regular expression on more than some thousand bytes is supported in match and search only")
	}
	matches := p.re.FindAllStringSubmatchIndex(text, maxItems+1)
	e.step(p.cost * len(text) * len(matches) / 512)
	return matches
}

// maxVisits bounds the search for all matches: each may look at all of what is
// behind it before it settles for less.
const maxVisits = 1 << 26

// A translator rewrites a Python pattern (docs.python.org/3/library/re.html).
type translator struct {
	text             string
	i                int
	out              strings.Builder
	dollar, boundary bool
}

func (t *translator) run() error {
	for t.i < len(t.text) {
		var err error
		switch c := t.text[t.i]; c {
		case '\\':
			err = t.escape(false)
		case '[':
			err = t.class()
		case '(':
			err = t.group()
		case '{':
			t.braces()
		case '$':
			t.dollar = true
			t.put(`\z`, 1)
		default:
			t.put(t.text[t.i:t.i+1], 1)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (t *translator) put(text string, took int) {
	t.out.WriteString(text)
	t.i += took
}

// braces are a repetition, of which Python knows {,n}, or themselves.
func (t *translator) braces() {
	end := strings.IndexByte(t.text[t.i:], '}')
	if end > 0 {
		low, high, comma := strings.Cut(t.text[t.i+1:t.i+end], ",")
		if allDigits(low) && allDigits(high) && (low != "" || high != "" || comma) {
			switch {
			case low == "":
				low = "0"
				fallthrough
			case comma:
				t.put("{"+low+","+high+"}", end+1)
			default:
				t.put("{"+low+"}", end+1)
			}
			return
		}
	}
	t.put(`\{`, 1)
}

func allDigits(text string) bool { return strings.Trim(text, "0123456789") == "" }

// group takes what opens a group.
func (t *translator) group() error {
	rest := t.text[t.i:]
	if !strings.HasPrefix(rest, "(?") {
		t.put("(", 1)
		return nil
	}
	switch {
	case strings.HasPrefix(rest, "(?:"):
		t.put("(?:", 3)
		return nil
	case strings.HasPrefix(rest, "(?P<"):
		t.put("(?P<", 4)
		return nil
	case strings.HasPrefix(rest, "(?="), strings.HasPrefix(rest, "(?!"),
		strings.HasPrefix(rest, "(?<="), strings.HasPrefix(rest, "(?<!"):
		return errors.New("lookarounds are not supported")
	case strings.HasPrefix(rest, "(?P="):
		return errors.New("references to groups are not supported")
	}
	end := 2
	for end < len(rest) && strings.IndexByte("ims", rest[end]) >= 0 {
		end++
	}
	if end == 2 || end >= len(rest) || rest[end] != ':' && (rest[end] != ')' || t.i > 0) || strings.Contains(rest[2:end], "m") {
		return fmt.Errorf("%.8q is not supported", rest)
	}
	t.put(rest[:end+1], end+1)
	return nil
}

// escape takes a backslash and what it stands for.
func (t *translator) escape(inClass bool) error {
	if t.i+1 >= len(t.text) {
		return errors.New("it ends in a backslash")
	}
	c := t.text[t.i+1]
	switch {
	case c == 'd':
		t.put(`\p{Nd}`, 2)
	case c == 'D':
		t.put(`\P{Nd}`, 2)
	case c == 'w' || c == 's':
		class := map[byte]string{'w': wordClass, 's': spaceClass}[c]
		if !inClass {
			class = "[" + class + "]"
		}
		t.put(class, 2)
	case (c == 'W' || c == 'S') && !inClass:
		t.put("[^"+map[byte]string{'W': wordClass, 'S': spaceClass}[c]+"]", 2)
	case strings.IndexByte("afnrtv", c) >= 0:
		t.put(t.text[t.i:t.i+2], 2)
	case c == 'b' && inClass:
		t.put(`\x08`, 2)
	case (c == 'b' || c == 'B') && !inClass:
		t.boundary = true
		t.put(t.text[t.i:t.i+2], 2)
	case c == 'A' && !inClass:
		t.put(`\A`, 2)
	case c == 'Z' && !inClass:
		t.put(`\z`, 2)
	case c == 'x' || c == 'u' || c == 'U':
		return t.hex(map[byte]int{'x': 2, 'u': 4, 'U': 8}[c])
	case c == '0':
		n, i := 0, t.i+2
		for ; i < len(t.text) && i < t.i+4 && t.text[i] >= '0' && t.text[i] <= '7'; i++ {
			n = n*8 + int(t.text[i]-'0')
		}
		t.put(fmt.Sprintf(`\x{%x}`, n), i-t.i)
	case isLetter(c) || isDigit(c):
		return fmt.Errorf(`\%c is not supported`, rune(c))
	case c >= 0x80:
		t.put("", 1)
	default:
		t.put(regexp.QuoteMeta(t.text[t.i+1:t.i+2]), 2)
		if inClass && strings.IndexByte("-&~", c) >= 0 {
			return t.quoteInClass(c)
		}
	}
	return nil
}

// quoteInClass escapes what QuoteMeta leaves, and a class gives a meaning.
func (t *translator) quoteInClass(c byte) error {
	text := t.out.String()
	t.out.Reset()
	t.out.WriteString(text[:len(text)-1])
	t.out.WriteString(`\`)
	t.out.WriteByte(c)
	return nil
}

func (t *translator) hex(digits int) error {
	from := t.i + 2
	if from+digits > len(t.text) {
		return errors.New("an escape is incomplete")
	}
	n, err := strconv.ParseUint(t.text[from:from+digits], 16, 32)
	if err != nil || n > unicode.MaxRune {
		return errors.New("an escape is no character")
	}
	t.put(fmt.Sprintf(`\x{%x}`, n), 2+digits)
	return nil
}

// class takes [ up to its ].
func (t *translator) class() error {
	t.put("[", 1)
	if t.i < len(t.text) && t.text[t.i] == '^' {
		t.put("^", 1)
	}
	for first := true; t.i < len(t.text); first = false {
		c := t.text[t.i]
		rest := t.text[t.i:]
		switch {
		case c == ']' && !first:
			t.put("]", 1)
			return nil
		case c == '\\':
			if err := t.escape(true); err != nil {
				return err
			}
		case strings.HasPrefix(rest, "[:"), strings.HasPrefix(rest, "--"), strings.HasPrefix(rest, "&&"),
			strings.HasPrefix(rest, "~~"), strings.HasPrefix(rest, "||"):
			return fmt.Errorf("%.2q in a class is not supported", rest)
		case c == '[' || c == ']':
			t.put(`\`+string(rune(c)), 1)
		default:
			t.put(t.text[t.i:t.i+1], 1)
		}
	}
	return errors.New("a class has no ]")
}
