package journal

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

const (
	streamName = "events"
	epochKey   = "carillon-epoch" // in the stream's metadata
	stateTable = "states"         // the bucket of LoadStates and SaveStates
)

// unlimited, in bytes: the disk is the limit, told by its own error.
const unlimited = int64(1) << 60

// An engine is one run of the embedded server with the connections to it. It
// can be thrown away and started again under a running Journal.
type engine struct {
	// Static after construction.
	srv    *server.Server
	writer *nats.Conn // appends and their acknowledgements, nothing else
	nc     *nats.Conn // all the rest
	js     jetstream.JetStream
	stream jetstream.Stream
	broken chan error // of one: why nothing can be stored any longer
	inbox  string     // where acknowledgements arrive
	acks   chan *nats.Msg
}

func startEngine(ctx context.Context, o Options) (e *engine, err error) {
	e = &engine{broken: make(chan error, 1), acks: make(chan *nats.Msg, maxGroups+64)}
	e.srv, err = server.NewServer(&server.Options{
		ServerName: "carillon", DontListen: true, NoSigs: true, NoLog: true,
		JetStream: true, StoreDir: o.Dir,
		JetStreamMaxStore: unlimited, JetStreamMaxMemory: 256 << 20,
		MaxPayload: MaxEvent + 4096,
		MaxPending: 256 << 20, // what a reader has asked for and not yet taken
	})
	if err != nil {
		return nil, err
	}
	e.srv.SetLoggerV2(&serverLog{o.Log, e.broken}, false, false, false)
	defer func() {
		if err != nil {
			e.stop()
			err = e.reason(err)
		}
	}()
	e.srv.Start()
	if !e.srv.JetStreamEnabled() {
		return nil, fmt.Errorf("the event store under %s could not be opened", filepath.Join(o.Dir, "jetstream"))
	}
	if err = e.connect(); err != nil {
		return nil, err
	}
	return e, e.openStream(ctx, o)
}

// reason is what the server logged of a failure, else err.
func (e *engine) reason(err error) error {
	select {
	case reason := <-e.broken:
		return reason
	default:
		return err
	}
}

func (e *engine) connect() (err error) {
	options := []nats.Option{nats.InProcessServer(e.srv), nats.NoReconnect(), nats.Name("carillon")}
	lost := nats.ClosedHandler(func(*nats.Conn) {
		select {
		case e.broken <- errors.New("the connection to the embedded server was lost"):
		default:
		}
	})
	if e.writer, err = nats.Connect("", append(options, lost)...); err != nil {
		return err
	}
	if e.nc, err = nats.Connect("", options...); err != nil {
		return err
	}
	if e.js, err = jetstream.New(e.nc, jetstream.WithPublishAsyncTimeout(ackTimeout)); err != nil {
		return err
	}
	e.inbox = e.writer.NewInbox()
	_, err = e.writer.ChanSubscribe(e.inbox, e.acks)
	return err
}

// openStream opens the stream of events, or makes it with a fresh epoch.
func (e *engine) openStream(ctx context.Context, o Options) error {
	stream, err := e.js.Stream(ctx, streamName)
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		e.stream, err = e.js.CreateStream(ctx, streamConfig(o, map[string]string{epochKey: newEpoch()}))
		return err
	}
	if err != nil {
		return err
	}
	e.stream = stream
	return e.configure(ctx, o, stream.CachedInfo().Config.Metadata[epochKey])
}

// configure brings the stream to the options and the epoch.
func (e *engine) configure(ctx context.Context, o Options, epoch string) error {
	have := e.stream.CachedInfo().Config
	metadata := maps.Clone(have.Metadata)
	if metadata == nil {
		metadata = map[string]string{}
	}
	metadata[epochKey] = epoch
	want := streamConfig(o, metadata)
	if have.MaxAge == want.MaxAge && have.MaxBytes == want.MaxBytes && have.Metadata[epochKey] == epoch {
		return nil
	}
	stream, err := e.js.UpdateStream(ctx, want)
	if err == nil {
		e.stream = stream
	}
	return err
}

func streamConfig(o Options, metadata map[string]string) jetstream.StreamConfig {
	c := jetstream.StreamConfig{
		Name: streamName, Subjects: []string{allSubjects}, Storage: jetstream.FileStorage,
		AllowDirect: true, Discard: jetstream.DiscardOld, MaxAge: o.MaxAge, MaxBytes: -1,
		Duplicates: 100 * time.Millisecond, // events have no message ids
		Metadata:   metadata,
	}
	if o.MaxBytes > 0 {
		c.MaxBytes = o.MaxBytes
	}
	return c
}

// newEpoch returns a random [a-z0-9]{10}.
func newEpoch() string {
	const letters = "abcdefghijklmnopqrstuvwxyz0123456789"
	b := make([]byte, 10)
	rand.Read(b)
	for i, c := range b {
		b[i] = letters[int(c)%len(letters)]
	}
	return string(b)
}

// stop ends the server and waits for it.
func (e *engine) stop() {
	for _, nc := range []*nats.Conn{e.writer, e.nc} {
		if nc != nil {
			nc.Close()
		}
	}
	e.srv.Shutdown()
	e.srv.WaitForShutdown()
}
