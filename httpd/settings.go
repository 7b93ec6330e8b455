package httpd

import "time"

// Settings are what can change while the server runs. A field's zero value
// stands for its default; Server.SetSettings replaces all of them at once.
// Requests under way and open streams keep those they began with.
type Settings struct {
	// MaxBody is the largest request body in bytes. Default: 1 MiB.
	MaxBody int
	// MaxBulk is the largest number of events in one POST /api/events. Default: 10,000.
	MaxBulk int
	// BodyTimeout is how long a request's body may take once its header is
	// read. Default: 30 s.
	BodyTimeout time.Duration

	// MaxStreams bounds the open streams of all clients. Default: 50,000.
	MaxStreams int
	// MaxStreamsPerAddress bounds the open streams of one client address.
	// Default: MaxStreams, for a home's proxy is one address.
	MaxStreamsPerAddress int
	// MaxStreamsPerCredential bounds the open streams with one credential: the
	// administrator's token, or JWTs of one subject. Default: no bound.
	MaxStreamsPerCredential int
	// MaxPolls bounds the polls that wait. They count as streams of their address
	// and credential too. Default: 1000.
	MaxPolls int
	// MaxConnections bounds the connections of all kinds, streams among them. A
	// part of them, an eighth and 256 at most, is kept for requests that are
	// answered at once. Default: no bound.
	MaxConnections int
	// ConnectionsPerSecond bounds the rate of new connections from one address.
	// Default: no bound.
	ConnectionsPerSecond int
	// MaxNames bounds the types, domains and entities that one stream may ask
	// for, together. Default: 1000.
	MaxNames int
	// MaxFilter bounds the text of a filter, and that of its parameters, in bytes.
	// Default: 16 KiB.
	MaxFilter int
	// MaxFiltersPerCredential bounds the different filters of the streams and polls
	// with one credential. Default: no bound.
	MaxFiltersPerCredential int
	// FullJavaScript are the JWT subjects whose filters may use all of JavaScript,
	// as the administrator's may. Default: none.
	FullJavaScript []string
	// MaxAge ends every stream after this time on a frame boundary; a stream
	// may ask for less with max_age. Default: never.
	MaxAge time.Duration
	// Slow is what becomes of a stream that is too slow, unless it says: "replay",
	// "conflate" or "disconnect". Default: "replay".
	Slow string
	// Drain is the time over which Shutdown spreads the ends of the streams.
	// Default: they end at once.
	Drain time.Duration
	// Retry is the shortest time that a stream's reader waits before it
	// reconnects; each is told a random time between once and twice this, so
	// that they don't all come back at once. Default: 2 s.
	Retry time.Duration

	// Origins are the web origins ("https://panel.example") whose pages may
	// read answers and streams. "*" allows every origin, without cookies.
	Origins []string

	// LockoutAfter is how many wrong credentials from one address within
	// LockoutWindow lock the address out for LockoutTime. Negative: never.
	// Default: 10.
	LockoutAfter int
	// LockoutWindow is the time after which failures are forgotten. Default: 5 min.
	LockoutWindow time.Duration
	// LockoutTime is how long an address stays locked out. Default: 5 min.
	LockoutTime time.Duration

	// JWTKeys verify JSON Web Tokens. None: only the administrator's token is valid.
	JWTKeys []JWTKey
	// JWTIssuer and JWTAudience, when set, must stand in each token's iss and aud.
	JWTIssuer, JWTAudience string
}

// withDefaults returns s with a value in each field.
func (s Settings) withDefaults() *Settings {
	setDefault(&s.MaxBody, 1<<20)
	setDefault(&s.MaxBulk, 10_000)
	setDefault(&s.BodyTimeout, 30*time.Second)
	setDefault(&s.MaxStreams, 50_000)
	setDefault(&s.MaxStreamsPerAddress, s.MaxStreams)
	setDefault(&s.MaxPolls, 1000)
	setDefault(&s.Slow, slowPolicies[0])
	setDefault(&s.Retry, 2*time.Second)
	setDefault(&s.LockoutAfter, 10)
	setDefault(&s.LockoutWindow, 5*time.Minute)
	setDefault(&s.LockoutTime, 5*time.Minute)
	setDefault(&s.MaxNames, maxNames)
	setDefault(&s.MaxFilter, 16<<10)
	return &s
}

func setDefault[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}
