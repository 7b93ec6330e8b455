// Package typescript takes the types out of TypeScript, and says for each place
// of the JavaScript that is left where it came from.
//
// Nothing else changes: newer syntax stays as it is, since what lowers it adds
// statements, and what a caller wants to keep is often one expression. It reads
// no files and keeps nothing, so that all of it is safe for concurrent use. It
// is for the operator's own files: how deep a text may be nested is not bounded.
package typescript

import (
	"fmt"
	"unicode/utf8"

	"github.com/evanw/esbuild/pkg/api"
	"github.com/go-sourcemap/sourcemap"
)

// A Script is JavaScript that was TypeScript.
type Script struct {
	Text string

	// Static after Strip.
	lines  []string // of Text
	from   []string // lines of the TypeScript
	places *sourcemap.Consumer
}

// An Error is where a text is no TypeScript. Line and Column count from 1, the
// column in characters; both are 0 when the place is not known.
type Error struct {
	Line, Column int
	Message      string
}

func (e *Error) Error() string { return fmt.Sprintf("%d:%d: %s", e.Line, e.Column, e.Message) }

// Strip returns the JavaScript of a TypeScript module, without imports that are
// of types only. The error is an *Error.
func Strip(source string) (*Script, error) {
	const name = "source.ts" // nobody sees it
	result := api.Transform(source, api.TransformOptions{
		Loader: api.LoaderTS, Target: api.ESNext, Charset: api.CharsetUTF8,
		Sourcemap: api.SourceMapExternal, SourcesContent: api.SourcesContentExclude, Sourcefile: name,
		LogLevel: api.LogLevelSilent,
		// A project's settings lie beside its files, and must not reach here.
		TsconfigRaw: "{}",
	})
	if len(result.Errors) > 0 {
		return nil, failure(result.Errors[0])
	}
	text := string(result.Code)
	s := &Script{Text: text, lines: lines(text), from: lines(source)}
	if places, err := sourcemap.Parse("", result.Map); err == nil { // there is none for nothing
		s.places = places
	}
	return s, nil
}

// failure turns esbuild's byte in the line into a character.
func failure(m api.Message) *Error {
	e := &Error{Message: m.Text}
	if at := m.Location; at != nil {
		e.Line = at.Line
		e.Column = utf8.RuneCountInString(at.LineText[:min(at.Column, len(at.LineText))]) + 1
	}
	return e
}

// Place returns the place in the TypeScript of a place in Text: both count
// lines and characters from 1. What the text has for itself is where the nearest
// text before it came from.
func (s *Script) Place(line, column int) (int, int) {
	if s.places == nil {
		return line, column
	}
	_, _, l, units, ok := s.places.Source(line, toUnits(lineOf(s.lines, line), column))
	if !ok {
		return line, column
	}
	return l, toCharacters(lineOf(s.from, l), units)
}
