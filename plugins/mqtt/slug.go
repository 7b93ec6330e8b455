package main

import (
	"strings"
	"unicode"

	"golang.org/x/text/unicode/norm"
)

// maxSlug keeps ids short.
const maxSlug = 120

// slug makes a part of an entity id of any text, as Home Assistant does for the usual
// Latin scripts: lower-case letters, digits and single underscores. It is empty when the
// text has neither letters nor digits of these.
func slug(text string) string {
	var b strings.Builder
	gap := false
	for _, r := range norm.NFKD.String(strings.ToLower(text)) {
		if b.Len() >= maxSlug {
			break
		}
		s := plainLetters[r]
		switch {
		case r >= 'a' && r <= 'z' || r >= '0' && r <= '9':
			s = string(r)
		case unicode.Is(unicode.Mn, r) || r == '\'' || r == '’':
			continue // the accent of the letter before; an apostrophe
		case s == "":
			gap = true
			continue
		}
		if gap && b.Len() > 0 {
			b.WriteByte('_')
		}
		gap = false
		b.WriteString(s)
	}
	return strings.TrimRight(cut(b.String(), maxSlug), "_")
}

// plainLetters are what letters without an accent to take off are written as.
var plainLetters = map[rune]string{
	'ß': "ss", 'æ': "ae", 'œ': "oe", 'ø': "o", 'đ': "d", 'ð': "d", 'þ': "th", 'ł': "l", 'ı': "i", 'ħ': "h", 'ŧ': "t", 'ŋ': "ng",
	'μ': "m", 'ω': "o", 'α': "a", 'β': "b", 'γ': "g", 'δ': "d",
}
