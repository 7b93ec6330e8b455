package httpd

import (
	"io/fs"
	"mime"
	"os"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/valyala/fasthttp"
)

// wwwFolder is a folder whose files are looked up anew each time, so that it
// may appear, change and go while the server runs. Links that lead out of it,
// names that begin with a dot, and what is neither file nor folder (opening a
// pipe would wait for its writer) are not there.
type wwwFolder string

func (dir wwwFolder) Open(name string) (fs.File, error) {
	hidden := func(part string) bool { return part != "." && strings.HasPrefix(part, ".") }
	if dir == "" || slices.ContainsFunc(strings.Split(name, "/"), hidden) {
		return nil, fs.ErrNotExist
	}
	root, err := os.OpenRoot(string(dir))
	if err != nil {
		return nil, err
	}
	defer root.Close()
	info, err := root.Stat(name)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() && !info.IsDir() {
		return nil, fs.ErrNotExist
	}
	return root.Open(name)
}

// webTypes are the types that a page depends on, whatever the system's own
// tables say of them.
var webTypes = map[string]string{
	".css": "text/css; charset=utf-8", ".htm": "text/html; charset=utf-8", ".html": "text/html; charset=utf-8",
	".js": "text/javascript; charset=utf-8", ".mjs": "text/javascript; charset=utf-8", ".json": "application/json",
	".map": "application/json", ".md": "text/markdown; charset=utf-8", ".svg": "image/svg+xml", ".txt": "text/plain; charset=utf-8",
	".wasm": "application/wasm", ".webmanifest": "application/manifest+json", ".woff2": "font/woff2", ".ico": "image/x-icon",
}

// newLocal serves WWW with ranges and If-Modified-Since. It keeps no file open:
// a page that was just saved is served at once.
func (s *Server) newLocal() fasthttp.RequestHandler {
	files := &fasthttp.FS{
		FS:              wwwFolder(s.WWW),
		IndexNames:      []string{"index.html"},
		AcceptByteRange: true,
		SkipCache:       true,
		PathRewrite:     fasthttp.NewPathPrefixStripper(len("/local")),
		CacheDuration:   time.Second,
	}
	return files.NewRequestHandler()
}

func (s *Server) getLocal(c *call) error {
	header := &c.Request.Header
	// A range that depends on the file being the same, or several at once, is
	// answered with the whole file, as RFC 9110 allows.
	if len(header.Peek("If-Range")) > 0 || strings.Contains(string(header.Peek("Range")), ",") {
		header.Del("Range")
	}
	folder := "/local" + path.Clean("/"+c.rest) + "/"
	s.local(c.RequestCtx)
	switch status := c.Response.StatusCode(); {
	case status == fasthttp.StatusFound:
		c.Response.Header.Set("Location", folder)
		c.Response.ResetBody()
	case status == fasthttp.StatusRequestedRangeNotSatisfiable:
		return refuse(status, "This range is not in the file.")
	case status >= 400:
		return refuse(fasthttp.StatusNotFound, "There is no file %.200s in the folder www.", c.rest)
	case status < 300:
		extension := strings.ToLower(path.Ext(c.rest))
		if extension == "" && strings.HasSuffix(string(c.Path()), "/") {
			extension = ".html"
		}
		if known := webTypes[extension]; known != "" {
			c.SetContentType(known)
		} else if known := mime.TypeByExtension(extension); known != "" {
			c.SetContentType(known)
		}
		c.Response.Header.Set("Cache-Control", "no-cache")
	}
	return nil
}
