package scripts

import (
	"fmt"
	"path"
	"path/filepath"
	"strings"
)

// Permissions are the files that the configuration lets scripts read: by the
// script's name (hall.js; * stands for any run of characters), patterns of
// absolute paths in which * stands for any run of characters within one
// element, and ** as an element for any number of elements.
//
// What a script may read is what its manifest names and its permissions grant.
type Permissions map[string][]string

// grants reports whether script may read the file at path.
func (p Permissions) grants(script, path string) bool {
	for name, patterns := range p {
		if wild(name, script) && globAny(patterns, path) {
			return true
		}
	}
	return false
}

func globAny(patterns []string, path string) bool {
	for _, pattern := range patterns {
		if globPath(pattern, path) {
			return true
		}
	}
	return false
}

// mayRead returns why script may not read the file at name, or nil. It looks at
// the name only: see readFile for where links lead.
func mayRead(script string, m *manifest, p Permissions, name string) error {
	slashed := filepath.ToSlash(name)
	switch {
	case !path.IsAbs(slashed) || path.Clean(slashed) != slashed || strings.ContainsRune(name, 0):
		return fmt.Errorf("reading %.300q: want an absolute path without . and .., like /proc/loadavg", name)
	case secret(slashed):
		return fmt.Errorf("reading %s: it holds secrets of a process and is never granted", name)
	case !globAny(m.Read, slashed):
		return fmt.Errorf("reading %s: the manifest does not name it; add the line \"// @read %s\" to the top of %s", name, slashed, script)
	case !p.grants(script, slashed):
		return fmt.Errorf("reading %s: it is not granted; add to carillon.yaml: permissions: {%s: {read: [%s]}}", name, script, slashed)
	}
	return nil
}

// secret reports whether a path is one of procfs that shows what processes keep
// for themselves, such as CARILLON_TOKEN in the environment.
func secret(path string) bool {
	if !strings.HasPrefix(path, "/proc/") {
		return false
	}
	switch path[strings.LastIndexByte(path, '/')+1:] {
	case "environ", "mem", "auxv", "cmdline":
		return strings.Count(path, "/") > 2
	}
	return false
}

// sameKernelTree reports whether a link within procfs or sysfs leads to a place in
// the same one: those links are made by the kernel, not by people.
func sameKernelTree(from, to string) bool {
	for _, root := range []string{"/proc/", "/sys/"} {
		if strings.HasPrefix(from, root) && strings.HasPrefix(to, root) {
			return true
		}
	}
	return false
}
