package plugins

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
)

// A store holds the copies of executables that are run, by content: what is
// checked is what is executed, and a file may be replaced while it runs.
type store struct {
	dir string

	mu    sync.Mutex
	using map[string]int // copies in use, by file name; guarded by mu
}

// A program is a copy that is in use until it is let go.
type program struct {
	path string
	sum  string // SHA-256, in hexadecimal
	free func() // may be called more than once
}

// copy copies the executable from.
func (s *store) copy(from string) (*program, error) {
	if err := os.MkdirAll(s.dir, 0o755); err != nil {
		return nil, err
	}
	src, err := os.Open(from)
	if err != nil {
		return nil, err
	}
	defer src.Close()
	info, err := src.Stat()
	switch {
	case err != nil:
		return nil, err
	case !info.Mode().IsRegular():
		return nil, fmt.Errorf("%s is no regular file", from)
	case info.Size() > maxProgram:
		return nil, fmt.Errorf("%s is larger than %d bytes", from, maxProgram)
	}
	tmp, err := os.CreateTemp(s.dir, ".copy-*")
	if err != nil {
		return nil, err
	}
	defer os.Remove(tmp.Name())
	hash := sha256.New()
	_, err = io.Copy(io.MultiWriter(tmp, hash), io.LimitReader(src, maxProgram))
	if err == nil {
		err = tmp.Chmod(0o555)
	}
	if closed := tmp.Close(); err == nil {
		err = closed
	}
	if err != nil {
		return nil, fmt.Errorf("copying %s: %w", from, err)
	}
	return s.keep(tmp.Name(), hex.EncodeToString(hash.Sum(nil)), filepath.Ext(from))
}

// keep gives the copy its name. One that is there already is what its name says
// unless somebody else wrote it, so it is replaced if nobody runs it.
func (s *store) keep(tmp, sum, ext string) (*program, error) {
	name := sum + ext
	s.mu.Lock()
	defer s.mu.Unlock()
	path, err := filepath.Abs(filepath.Join(s.dir, name))
	if err != nil {
		return nil, err
	}
	if s.using[name] == 0 {
		if err := os.Rename(tmp, path); err != nil {
			return nil, err
		}
	}
	if s.using == nil {
		s.using = map[string]int{}
	}
	return s.use(path, sum), nil
}

// use returns a use of a copy. The caller holds mu.
func (s *store) use(path, sum string) *program {
	name := filepath.Base(path)
	s.using[name]++
	return &program{path: path, sum: sum, free: sync.OnceFunc(func() { s.release(name) })}
}

// hold returns another use of a copy, and whether that is in use still. One that is not is gone,
// as what ran it may have ended by itself.
func (s *store) hold(p *program) (held *program, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.using[filepath.Base(p.path)] == 0 {
		return &program{path: p.path, sum: p.sum, free: func() {}}, false
	}
	return s.use(p.path, p.sum), true
}

// release removes a copy that nobody uses any more.
func (s *store) release(name string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.using[name]--; s.using[name] == 0 {
		delete(s.using, name)
		os.Remove(filepath.Join(s.dir, name)) // if not, clean does at the next start
	}
}

// clean removes what an earlier server left behind.
func (s *store) clean() {
	entries, err := os.ReadDir(s.dir)
	if err != nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, e := range entries {
		sum, _, _ := strings.Cut(e.Name(), ".")
		_, err := hex.DecodeString(sum)
		ours := err == nil && len(sum) == 2*sha256.Size || strings.HasPrefix(e.Name(), ".copy-")
		if ours && s.using[e.Name()] == 0 && e.Type().IsRegular() {
			os.Remove(filepath.Join(s.dir, e.Name()))
		}
	}
}
