package scripts

import (
	"fmt"
	"path"
	"strings"
)

// A manifest is what a script says of itself in the comment lines that it begins
// with:
//
//	// @name Host sensors
//	// @description This machine's load and memory.
//	// @read /proc/loadavg
//	// @read /sys/class/thermal/*/temp
type manifest struct {
	Name        string
	Description string
	Read        []string // patterns of absolute paths, as in path.Match
}

const (
	maxManifestLine  = 1024
	maxManifestReads = 100
)

// parseManifest reads the comment lines before the first line of code. Other
// @ words than its own are somebody else's.
func parseManifest(file, source string) (manifest, *Error) {
	var m manifest
	line := 0
	for text := range strings.Lines(source) {
		line++
		text = strings.TrimSpace(strings.TrimPrefix(text, "\uFEFF"))
		if text == "" || text == `"use strict";` || text == `'use strict';` {
			continue
		}
		comment, ok := strings.CutPrefix(text, "//")
		if !ok {
			break
		}
		key, value, _ := strings.Cut(strings.TrimSpace(comment), " ")
		if problem := m.set(key, strings.TrimSpace(value)); problem != "" {
			return m, &Error{File: file, Line: line, Column: 1, Message: problem, reason: reasonManifest}
		}
	}
	return m, nil
}

// set takes one line and returns what is wrong with it.
func (m *manifest) set(key, value string) string {
	switch key {
	case "@name", "@description", "@read":
	default:
		return ""
	}
	if value == "" || len(value) > maxManifestLine {
		return fmt.Sprintf("%s needs a value of at most %d bytes", key, maxManifestLine)
	}
	switch key {
	case "@name":
		m.Name = value
	case "@description":
		m.Description = value
	case "@read":
		for pattern := range strings.FieldsSeq(value) {
			if _, err := path.Match(pattern, ""); err != nil || !path.IsAbs(pattern) || path.Clean(pattern) != pattern {
				return fmt.Sprintf("@read %s: want an absolute path without . and .., like /proc/loadavg or /sys/class/thermal/*/temp", pattern)
			}
			m.Read = append(m.Read, pattern)
		}
		if len(m.Read) > maxManifestReads {
			return fmt.Sprintf("@read: more than %d patterns", maxManifestReads)
		}
	}
	return ""
}
