package main

import (
	"context"
	"errors"
	"fmt"
	"path"
	"strings"
	"time"

	"carillon/httpd"
	"carillon/internal/typescript"
	"carillon/internal/watch"
)

// A filterVersion is one content of a file in home/filters. It never changes
// once it is in use.
type filterVersion struct {
	number int
	file   string
	text   filterText
	script *typescript.Script // nil for JavaScript

	tier, index string
	cost        int
	projects    bool
	loadedAt    time.Time
}

// Tiers of filters.
const (
	nativeTier = "native" // compiled
	workerTier = "worker" // run by a worker, which knows all of JavaScript
)

// A fileError is why a file is not in use: line and column count from 1, and are
// 0 if it is about no place.
type fileError struct {
	file         string
	line, column int
	message      string
}

func (e *fileError) place() string {
	if e.line == 0 {
		return e.file
	}
	return fmt.Sprintf("%s:%d:%d", e.file, e.line, e.column)
}

// json is the error as GET /api/filters has it.
func (e *fileError) json() any {
	return map[string]any{"file": e.file, "line": e.line, "column": e.column, "message": e.message}
}

// readVersion makes a version of a file's content, and tries it without
// parameters.
func (f *filters) readVersion(ctx context.Context, name string, number int, c watch.Change) (*filterVersion, *fileError) {
	failed := func(line, column int, message string) (*filterVersion, *fileError) {
		return nil, &fileError{file: c.Path, line: line, column: column, message: message}
	}
	if !validName(name) {
		return failed(0, 0, "the name of a filter is of letters, digits, - and _: rename the file")
	}
	if c.Err != nil {
		return failed(0, 0, c.Err.Error())
	}
	v := &filterVersion{number: number, file: c.Path, loadedAt: time.Now()}
	source := strings.TrimPrefix(string(c.Content), "\ufeff")
	if path.Ext(c.Path) == ".ts" {
		script, err := typescript.Strip(source)
		var wrong *typescript.Error
		if errors.As(err, &wrong) {
			return failed(wrong.Line, wrong.Column, wrong.Message)
		}
		v.script, source = script, script.Text
	}
	v.text = filterText{native: withoutExport(source), full: source}
	made, err := f.makeVersion(ctx, &origin{name: name, version: v})
	if err != nil {
		var wrong *httpd.FilterError
		if errors.As(err, &wrong) {
			return failed(wrong.Line, wrong.Column, wrong.Message)
		}
		return failed(0, 0, err.Error())
	}
	defer f.leave(made)
	v.tier = made.tier()
	if p := made.program; p != nil {
		v.cost, v.index, v.projects = p.Cost(), p.IndexKey(), p.Projects()
	}
	return v, nil
}

func (f *liveFilter) tier() string {
	if f.program != nil {
		return nativeTier
	}
	return workerTier
}

// makeVersion makes a filter of a version, with the operator's rights. Mistakes
// are told with their place in the file.
func (f *filters) makeVersion(ctx context.Context, from *origin) (*liveFilter, error) {
	v := from.version
	made, err := f.make(ctx, v.text, from.params, operator, from)
	var wrong *httpd.FilterError
	if errors.As(err, &wrong) && wrong.Line > 0 {
		mapped := *wrong
		mapped.Line, mapped.Column = v.place(wrong.Line, wrong.Column)
		return nil, &mapped
	}
	return made, err
}

// place returns the place in the file of a place in the text.
func (v *filterVersion) place(line, column int) (int, int) {
	if v.script == nil {
		return line, column
	}
	return v.script.Place(line, column)
}

// validName keeps names apart from what stands around them: in @above@3, in
// comments and in addresses.
func validName(name string) bool {
	return name != "" && len(name) <= 100 &&
		strings.Trim(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_") == ""
}

// withoutExport blanks the export default before a file's only expression, so
// that all places stay.
func withoutExport(source string) string {
	at := skipBlank(source, 0)
	if !strings.HasPrefix(source[at:], "export") {
		return source
	}
	second := skipBlank(source, at+len("export"))
	if second == at+len("export") || !strings.HasPrefix(source[second:], "default") {
		return source
	}
	end := second + len("default")
	rest := source[end:]
	if rest != "" && strings.ContainsAny(rest[:1], "$_0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ") {
		return source
	}
	blank := func(from, to int) string { return strings.Repeat(" ", to-from) }
	return source[:at] + blank(at, at+len("export")) + source[at+len("export"):second] + blank(second, end) + rest
}

// skipBlank returns where the next thing stands that is neither space nor a
// comment.
func skipBlank(source string, at int) int {
	for {
		rest := strings.TrimLeft(source[at:], " \t\r\n")
		at = len(source) - len(rest)
		end, closing := "\n", 0
		switch {
		case strings.HasPrefix(rest, "/*"):
			end, closing = "*/", 2
		case !strings.HasPrefix(rest, "//"):
			return at
		}
		i := strings.Index(rest[closing:], end)
		if i < 0 {
			return len(source)
		}
		at += closing + i + len(end)
	}
}
