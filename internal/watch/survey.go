package watch

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
)

const (
	maxNames = 20000 // names read in one survey: more is no folder of scripts
	maxDepth = 32
)

// A survey is what the folder tree holds at one time.
type survey struct {
	files map[string]file
	blind []string // folders that could not be read
	names int
	dirs  map[string]bool // folders to be watched, as real paths
	links map[string]bool // real paths of what symbolic links point to
	err   error           // why some folder is not watched
}

type file struct {
	path string // real, but for a last element that is a symbolic link
	info fs.FileInfo
	err  error
}

// Temporary reports whether a file name is one that editors and tools use for
// their own: names that begin with a dot, end with ~, .swp, .swx, .tmp or .bak,
// `4913` (which Vim creates to try a folder), and #name#.
func Temporary(name string) bool {
	switch path.Ext(name) {
	case ".swp", ".swx", ".tmp", ".bak":
		return true
	}
	return strings.HasPrefix(name, ".") || strings.HasSuffix(name, "~") || name == "4913" ||
		strings.HasPrefix(name, "#") && strings.HasSuffix(name, "#")
}

// survey reads the folder tree, and watches each folder before reading it, so
// that nothing can change unnoticed in between.
func (r *run) survey() (*survey, error) {
	s := &survey{files: map[string]file{}, dirs: map[string]bool{}, links: map[string]bool{}}
	s.err = r.open()
	abs, err := filepath.Abs(r.dir)
	if err != nil {
		return nil, err
	}
	// The parent tells when the folder comes, goes or is replaced.
	parent, err := filepath.EvalSymlinks(filepath.Dir(abs))
	r.self = ""
	if err == nil {
		r.self = filepath.Join(parent, filepath.Base(abs))
		r.watch(s, parent)
	}
	r.root, err = filepath.EvalSymlinks(abs)
	switch {
	case err == nil:
		err = r.walk(s, r.root, "", 0)
	case errors.Is(err, fs.ErrNotExist):
		r.root, err = "", nil
	}
	if err == nil {
		r.watchLinks(s)
		r.unwatchOthers(s)
	}
	r.links = s.links
	r.polling = s.err != nil || r.self == "" || err != nil
	r.complainOfWatches(s.err, err)
	return s, err
}

func (r *run) complainOfWatches(watching, reading error) {
	switch {
	case reading != nil:
	case watching != nil:
		r.complain(fmt.Errorf("polling every %s instead: %w", pollEvery, watching))
	default:
		r.complain(nil)
	}
}

// walk adds the folder dir, rel from the root, to the survey.
func (r *run) walk(s *survey, dir, rel string, depth int) error {
	r.watch(s, dir)
	entries, err := os.ReadDir(dir)
	if err != nil {
		if depth == 0 && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		if !errors.Is(err, fs.ErrNotExist) {
			s.blind = append(s.blind, rel)
		}
		return nil
	}
	if s.names += len(entries); s.names > maxNames {
		return fmt.Errorf("more than %d names in it; put other things elsewhere", maxNames)
	}
	for _, e := range entries {
		name := e.Name()
		sub, real := path.Join(rel, name), filepath.Join(dir, name)
		switch {
		case e.IsDir():
			if r.flat || strings.HasPrefix(name, ".") {
				continue
			}
			if depth == maxDepth {
				return fmt.Errorf("more than %d levels of folders at %s", maxDepth, real)
			}
			if err := r.walk(s, real, sub, depth+1); err != nil {
				return err
			}
		case !Temporary(name) && r.match(sub):
			s.add(sub, real, e)
		}
	}
	return nil
}

// add adds a file, or what a symbolic link points to if that is a file.
func (s *survey) add(rel, real string, e fs.DirEntry) {
	info, err := os.Stat(real)
	switch {
	case errors.Is(err, fs.ErrNotExist): // also a link that leads nowhere
	case err != nil:
		s.files[rel] = file{path: real, err: err}
	case info.Mode().IsRegular():
		s.files[rel] = file{path: real, info: info}
		if e.Type()&fs.ModeSymlink == 0 {
			return
		}
		if target, err := filepath.EvalSymlinks(real); err == nil {
			s.links[target] = true
		}
	}
}
