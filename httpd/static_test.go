package httpd

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// localCases are about the files that TestLocal writes.
var localCases = []struct {
	path   string
	status int
	body   string
	kind   string
}{
	{"/local/sse.html", 200, "<p>hello", "text/html; charset=utf-8"},
	{"/local/app.js", 200, "let a", "text/javascript; charset=utf-8"},
	{"/local/sub/", 200, "<p>sub", "text/html; charset=utf-8"},
	{"/local/sub%20dir/%C3%BC.txt", 200, "ü", "text/plain; charset=utf-8"},
	{"/local/in.txt", 200, "0123456789", ""},
	{"/local/sub", 302, "", ""},
	{"/local/", 404, "no file", ""},
	{"/local/none.html", 404, "no file none.html", ""},
	{"/local/.hidden", 404, "no file", ""},
	{"/local/.git/config", 404, "no file", ""},
	{"/local/%2ehidden", 404, "no file", ""},
	{"/local/out.txt", 404, "no file", ""},
	{"/local/abs.txt", 404, "no file", ""},
	{"/local/up/secret.txt", 404, "no file", ""},
	{"/local/../secret.txt", 404, "", ""},
	{"/local/%2e%2e/secret.txt", 404, "", ""},
	{"/local/..%2fsecret.txt", 404, "", ""},
	{"/local/sub/..%5c..%5csecret.txt", 404, "", ""},
	{"/local/a%00b", 404, "", ""},
}

func TestLocal(t *testing.T) {
	folder := t.TempDir()
	www := filepath.Join(folder, "www")
	h := startHome(t, Settings{}, func(s *Server) { s.WWW = www })
	h.askBare("GET", "/local/sse.html", "").want(t, "no folder yet", 404, "no file")
	write(t, filepath.Join(folder, "secret.txt"), "secret")
	write(t, filepath.Join(www, "sse.html"), "<p>hello")
	write(t, filepath.Join(www, "app.js"), "let a")
	write(t, filepath.Join(www, "data.bin"), "0123456789")
	write(t, filepath.Join(www, ".hidden"), "hidden")
	write(t, filepath.Join(www, ".git", "config"), "hidden")
	write(t, filepath.Join(www, "sub", "index.html"), "<p>sub")
	write(t, filepath.Join(www, "sub dir", "ü.txt"), "ü")
	for name, target := range map[string]string{"out.txt": "../secret.txt", "abs.txt": filepath.Join(folder, "secret.txt"), "up": "..", "in.txt": "data.bin"} {
		if err := os.Symlink(target, filepath.Join(www, name)); err != nil {
			t.Skipf("making links: %v", err)
		}
	}
	for _, c := range localCases {
		got := h.askBare("GET", c.path, "")
		got.want(t, c.path, c.status, c.body)
		if c.kind != "" && got.header.Get("Content-Type") != c.kind {
			t.Errorf("%s: got type %q, want %q", c.path, got.header.Get("Content-Type"), c.kind)
		}
		if strings.Contains(got.body, "secret\n") || got.body == "secret" || got.body == "hidden" {
			t.Errorf("%s: got %q, which must not be served", c.path, got.body)
		}
	}
	if got := h.askBare("GET", "/local/sub", "").header.Get("Location"); got != "/local/sub/" {
		t.Errorf("folder without a slash: got Location %q, want /local/sub/", got)
	}
	h.askBare("POST", "/local/sse.html", "x").want(t, "POST", 405, "GET, HEAD, OPTIONS")
	write(t, filepath.Join(www, "sse.html"), "<p>changed")
	h.askBare("GET", "/local/sse.html", "").want(t, "changed file", 200, "<p>changed")
	write(t, filepath.Join(www, "index.html"), "<p>start")
	if got := h.askBare("GET", "/", ""); got.status != 302 || got.header.Get("Location") != "/local/" {
		t.Errorf("/ with an index: got %d to %q, want 302 to /local/", got.status, got.header.Get("Location"))
	}
}

func TestLocalRangesAndConditions(t *testing.T) {
	www := t.TempDir()
	write(t, filepath.Join(www, "data.bin"), "0123456789")
	h := startHome(t, Settings{}, func(s *Server) { s.WWW = www })
	part := h.askBare("GET", "/local/data.bin", "", "Range: bytes=2-4")
	if part.status != 206 || part.body != "234" || part.header.Get("Content-Range") != "bytes 2-4/10" {
		t.Errorf("range: got %d %q %q, want 206 234 bytes 2-4/10", part.status, part.body, part.header.Get("Content-Range"))
	}
	h.askBare("GET", "/local/data.bin", "", "Range: bytes=-3").want(t, "last three", 206, "789")
	h.askBare("GET", "/local/data.bin", "", "Range: bytes=10-").want(t, "behind the end", 416, "not in the file")
	h.askBare("GET", "/local/data.bin", "", "Range: bytes=0-1,3-4").want(t, "several", 200, "0123456789")
	h.askBare("GET", "/local/data.bin", "", "Range: bytes=0-1", `If-Range: "x"`).want(t, "if range", 200, "0123456789")
	whole := h.askBare("GET", "/local/data.bin", "")
	modified := whole.header.Get("Last-Modified")
	if got := h.askBare("GET", "/local/data.bin", "", "If-Modified-Since: "+modified); got.status != 304 || got.body != "" {
		t.Errorf("not modified since %q: got %d %q, want 304", modified, got.status, got.body)
	}
	head := h.askBare("HEAD", "/local/data.bin", "")
	if head.status != 200 || head.header.Get("Content-Length") != "10" || head.body != "" {
		t.Errorf("HEAD: got %d, length %q, want 200, 10", head.status, head.header.Get("Content-Length"))
	}
}

// Each answer closes its file: a page that is read often must not use up the
// process's descriptors.
func TestLocalClosesFiles(t *testing.T) {
	if _, err := os.ReadDir("/proc/self/fd"); err != nil {
		t.Skip("no /proc/self/fd here")
	}
	www := t.TempDir()
	write(t, filepath.Join(www, "small.txt"), "small")
	write(t, filepath.Join(www, "big.txt"), strings.Repeat("x", 100_000))
	h := startHome(t, Settings{}, func(s *Server) { s.WWW = www })
	open := func() (n int) {
		entries, err := os.ReadDir("/proc/self/fd")
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range entries {
			if target, err := os.Readlink("/proc/self/fd/" + e.Name()); err == nil && strings.HasPrefix(target, www) {
				n++
			}
		}
		return n
	}
	for range 20 {
		for _, file := range []string{"small.txt", "big.txt"} {
			for _, header := range []string{"", "Range: bytes=1-2", "Range: bytes=999999-", "If-Modified-Since: Fri, 01 Jan 2100 00:00:00 GMT"} {
				h.askBare("GET", "/local/"+file, "", header)
				h.askBare("HEAD", "/local/"+file, "", header)
			}
		}
	}
	h.waitFor("the files to be closed", func() bool { return open() == 0 })
}
