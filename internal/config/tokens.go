package config

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"

	goyaml "github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/lexer"
	"github.com/goccy/go-yaml/token"
)

const (
	maxFile = 1 << 20
	// The YAML reader takes time with the square of some constructs. A file with
	// 1,000 permissions of ten paths has about 15,000 signs.
	maxSigns = 40000
	maxDepth = 16 // brackets within brackets: the reader recurses
)

// tokens reads the text as YAML tokens, without those that this file does
// not use, as anchors and tags: nothing refers, expands or constructs.
func (p *parser) tokens(text []byte) (token.Tokens, bool) {
	if len(text) > maxFile {
		p.fail(nil, "", fault{fmt.Sprintf("the file has %d bytes, more than 1 MiB is not read", len(text)),
			"is it the right file?"})
		return nil, false
	}
	text = bytes.TrimPrefix(text, []byte("\uFEFF"))
	text = bytes.ReplaceAll(text, []byte("\r\n"), []byte("\n"))
	lines := strings.Split(string(text), "\n")
	signs := 0
	for i, line := range lines {
		if f, column := checkLine(line); f != nil {
			p.fail(&token.Position{Line: i + 1, Column: column}, "", *f)
		}
		if strings.HasPrefix(strings.TrimSpace(line), "#") || strings.TrimSpace(line) == "" {
			lines[i] = "" // a comment: nothing for the reader
			continue
		}
		signs += countSigns(line)
		if signs > maxSigns {
			p.fail(&token.Position{Line: i + 1, Column: 1}, "", fault{"the file has too much in it up to here to be a configuration",
				"use patterns instead of long lists"})
			break
		}
	}
	if len(p.errs) > 0 {
		return nil, false
	}
	return p.tokenize(strings.Join(lines, "\n"))
}

// tokenize splits a text whose lines were checked.
func (p *parser) tokenize(text string) (tokens token.Tokens, ok bool) {
	defer func() {
		if r := recover(); r != nil {
			p.fail(nil, "", fault{"the YAML reader gave up on this file: " + quote(fmt.Sprint(r)), "undo the last edit, or simplify it"})
			tokens, ok = nil, false
		}
	}()
	tokens = lexer.Tokenize(text)
	depth, dashes := 0, 0
	for _, t := range tokens {
		switch t.Type {
		case token.SequenceStartType, token.MappingStartType:
			depth++
		case token.SequenceEndType, token.MappingEndType:
			depth--
		}
		if dashes++; t.Type != token.SequenceEntryType {
			dashes = 0
		}
		f := refused(t)
		if depth > maxDepth || dashes > maxDepth {
			f = &fault{"has lists within lists within lists", "remove some brackets or dashes"}
		}
		if f != nil {
			p.fail(t.Position, "", *f)
			return nil, false
		}
	}
	return tokens, true
}

// checkLine finds what no line may have.
func checkLine(line string) (*fault, int) {
	if !utf8.ValidString(line) {
		return &fault{"is not UTF-8 text", "save the file as UTF-8"}, 1
	}
	if i := strings.IndexFunc(line, func(r rune) bool { return r < ' ' && r != '\t' || r == 0x7f || r == '\uFEFF' }); i >= 0 {
		return &fault{fmt.Sprintf("has the invisible character %q", []rune(line[i:])[0]), "remove it"}, i + 1
	}
	indent := line[:len(line)-len(strings.TrimLeft(line, " \t"))]
	if i := strings.IndexByte(indent, '\t'); i >= 0 && len(indent) < len(line) && line[len(indent)] != '#' {
		return &fault{"is indented with a tab", "use spaces"}, i + 1
	}
	return nil, 0
}

// countSigns bounds the number of tokens in a line.
func countSigns(line string) int {
	n := 1
	for i := range len(line) {
		if strings.IndexByte(",:[]{}&*!|>'\"%@`?-#", line[i]) >= 0 {
			n++
		}
	}
	return n
}

// refused returns why a token is not for this file.
func refused(t *token.Token) *fault {
	switch t.Type {
	case token.AliasType:
		return &fault{"a word that begins with * refers to another place in YAML, which is not used here", `put it in quotes: "*"`}
	case token.AnchorType, token.MergeKeyType:
		return &fault{"anchors (&, <<) are not used here", "write the values out, or put the text in quotes"}
	case token.TagType:
		return &fault{"tags (!) are not used here", "remove it, or put the text in quotes"}
	case token.DirectiveType:
		return &fault{"directives (%) are not used here", "remove it, or put the text in quotes"}
	case token.MappingKeyType:
		return &fault{"keys that begin with ? are not used here", "write key: value"}
	}
	return nil
}

// failSyntax reports the YAML library's error.
func (p *parser) failSyntax(err error) {
	var e goyaml.Error
	if !errors.As(err, &e) || e.GetToken() == nil || e.GetToken().Position == nil {
		p.fail(nil, "", fault{"the file is no valid YAML: " + quote(err.Error()), "undo the last edit"})
		return
	}
	// The message may quote all that follows.
	msg := shorten(strings.Join(strings.Fields(e.GetMessage()), " "))
	p.fail(e.GetToken().Position, "", fault{"is no valid YAML: " + msg, syntaxHint(msg)})
}

func syntaxHint(msg string) string {
	switch {
	case strings.Contains(msg, "quoted text"):
		return "close the quotes"
	case strings.Contains(msg, "sequence end token"), strings.Contains(msg, "flow map"):
		return "close the brackets, and separate what is in them with commas"
	case strings.Contains(msg, "sequence was used where mapping"):
		return "write key: value, or put the list below its key"
	case strings.Contains(msg, "mapping value is not allowed"):
		return "indent this line and the next alike, and put text with : in it in quotes"
	}
	return "write key: value, with a space after the colon, below each other with the same indentation, and quotes around text with : # [ ] { } or *"
}
