// Package config is the schema of carillon.yaml: its keys, defaults and ranges, the
// errors a mistake in it gets, and the difference of two configurations.
//
// A file is checked whole: Parse returns a complete configuration or every
// mistake it found, each with its line, the reason and what to write instead.
// Unknown keys are mistakes. It reads no other file and has no state, so that
// all functions are safe for concurrent use; time and memory are bounded
// whatever the text holds.
package config

import (
	"log/slog"
	"path"
	"slices"
	"time"
)

// Config is a complete configuration. Paths in it are as written: relative ones
// are meant from the home folder. A Config is not changed once it is in use.
type Config struct {
	Server  Server
	Auth    Auth
	Limits  Limits
	Stream  Stream
	Journal Journal
	Scripts Scripts
	Plugins map[string]Plugin // by adapter; may be nil
	Filters Filters
	Log     Log
}

// Server is where and how the HTTP server listens.
type Server struct {
	Listen        string // host:port; an empty host is every address, port 0 a free one
	TLS           TLS
	CORS          CORS
	HeaderTimeout time.Duration // for a client to send the head of a request
	Drain         time.Duration // over which the ends of streams are spread at shutdown
}

// TLS names the PEM files for HTTPS: both, or none for plain HTTP.
type TLS struct {
	Cert, Key string
}

// CORS is which web pages may use the API from a browser.
type CORS struct {
	// Origins are as browsers write them in the Origin header (scheme://host[:port],
	// in lower case, without the scheme's default port), or "*" for all.
	Origins []string
}

// Auth is about credentials; the tokens themselves are not in the configuration.
type Auth struct {
	Lockout Lockout
	JWT     JWT
}

// Lockout refuses an address for Duration after Failures wrong credentials within
// Window. No Failures means never.
type Lockout struct {
	Failures         int
	Window, Duration time.Duration
}

// JWT is which JSON web tokens are accepted; without secret and keys, none.
type JWT struct {
	HS256SecretFile  string   // file with the shared secret
	PublicKeyFiles   []string // PEM files: RSA, ECDSA or Ed25519
	Issuer, Audience string   // required values of iss and aud; empty = any
}

// Limits bound what clients can take.
type Limits struct {
	Body              int64 // bytes of a request body
	Streams           int   // open streams; 0 = what file descriptors allow
	StreamsPerAddress int   // open streams from one address; 0 = no limit
	// StreamsPerCredential bounds the open streams with one token, or with JWTs
	// of one subject; 0 = no limit.
	StreamsPerCredential int
	Polls                int   // polls that wait
	ConnectionsPerSecond int   // new connections from one address; 0 = no limit
	SelectionItems       int   // names in one stream's selection
	FilterBytes          int64 // bytes of the text of one filter
	// FiltersPerCredential bounds the different filters that streams with one
	// token, or with JWTs of one subject, have at once; 0 = no limit.
	FiltersPerCredential int
}

// Stream is about event streams.
type Stream struct {
	Tape       int64         // bytes of recent frames held in memory, per format
	SendBuffer int64         // bytes of the kernel's send buffer, per stream
	Beat       time.Duration // between two signs of life
	Retry      time.Duration // when a reader is to come back, about
	MaxAge     time.Duration // when a stream is ended for the reader to resume; 0 = never
	Slow       string        // what becomes of a slow stream: "replay", "conflate" or "disconnect"
}

// Journal is how much of the past is kept.
type Journal struct {
	MaxAge   time.Duration // 0 = whatever MaxBytes allows
	MaxBytes int64
}

// Scripts is about the script host.
type Scripts struct {
	Grace       time.Duration         // until entities of a deleted script are removed
	Timeout     time.Duration         // how long one handler may run
	Permissions map[string]Permission // by script path, with * and ? as in path.Match
}

// Permission is what some scripts may do besides the ordinary.
type Permission struct {
	Read []string // absolute paths that may be read, with * and ? as in path.Match
}

// Granted returns what a script may read, by its slash-separated path in the
// scripts folder: the union, sorted, of what all entries that match it grant.
func (s *Scripts) Granted(script string) []string {
	var read []string
	for pattern, p := range s.Permissions {
		if ok, err := path.Match(pattern, script); ok && err == nil {
			read = append(read, p.Read...)
		}
	}
	slices.Sort(read)
	return slices.Compact(read)
}

// Filters is about the filters of streams.
type Filters struct {
	// FullJavaScript are the JWT subjects whose filters may use all of JavaScript,
	// as the administrator's may.
	FullJavaScript []string
	Worker         Worker
}

// Worker bounds the processes that run filters of full JavaScript.
type Worker struct {
	Memory   int64         // bytes that the filters in one process may take
	Deadline time.Duration // that a filter may take for one event
}

// Log is what is logged, and how.
type Log struct {
	Level  slog.Level
	Format string // "text" or "json"
}

// Default returns the configuration of an empty file.
func Default() *Config {
	const day = 24 * time.Hour
	return &Config{
		Server: Server{Listen: "127.0.0.1:8123", HeaderTimeout: 10 * time.Second, Drain: 2 * time.Second},
		Auth:   Auth{Lockout: Lockout{Failures: 10, Window: time.Minute, Duration: time.Minute}},
		Limits: Limits{Body: 1 << 20, Polls: 1000, SelectionItems: 256, FilterBytes: 16 << 10, FiltersPerCredential: 100},
		Stream: Stream{
			Tape: 8 << 20, SendBuffer: 16 << 10,
			Beat: 15 * time.Second, Retry: 2 * time.Second, Slow: "replay",
		},
		Journal: Journal{MaxAge: 30 * day, MaxBytes: 1 << 30},
		Scripts: Scripts{Grace: 10 * time.Minute, Timeout: time.Second},
		Filters: Filters{Worker: Worker{Memory: 64 << 20, Deadline: 50 * time.Millisecond}},
		Log:     Log{Level: slog.LevelInfo, Format: "text"},
	}
}
