package scripts

import (
	"fmt"
	"path"
	"path/filepath"
	"strings"
)

// Permissions are the files that the configuration lets scripts read: by the
// script's file, patterns of absolute paths, both as in path.Match.
//
// What a script may read is what its manifest names and its permissions grant.
type Permissions map[string][]string

// grants reports whether script may read file.
func (p Permissions) grants(script, file string) bool {
	for name, patterns := range p {
		if ok, _ := path.Match(name, script); ok && globAny(patterns, file) {
			return true
		}
	}
	return false
}

func globAny(patterns []string, file string) bool {
	for _, pattern := range patterns {
		if ok, _ := path.Match(pattern, file); ok {
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
		return fmt.Errorf("reading %s: it is not granted; add to carillon.yaml: scripts: {permissions: {%s: {read: [%s]}}}", name, script, slashed)
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
