package plugins

import (
	"context"
	"errors"
	"io"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"carillon/plugins/adapter/wire"
)

// A session is one generation's stream, from Welcome until one side ends it.
type session struct {
	// Static after open.
	a      *adapter
	g      *generation
	stream wire.Adapter_SessionClient
	ctx    context.Context // ends with the session; its cause is a *failure
	end    context.CancelCauseFunc
	out    outbox
	pub    publisher
	calls  calls
	deaf   bool           // it may follow nothing
	done   sync.WaitGroup // receive, send, beat and followers

	follows follows

	draining atomic.Bool
	closed   chan struct{}           // closed by receive: the adapter sends no more
	cause    atomic.Pointer[failure] // why it ended, if more is known than the stream says

	// Owned by receive.
	lastBatch uint64
	left      int // credit that the adapter has, as far as it can know

	received atomic.Uint64 // the last batch, for drain
	beats    beats
}

// openSession opens the session of g and begins to take what it publishes.
func (g *generation) openSession() (*session, error) {
	s := &session{a: g.a, g: g, deaf: g.spec.conf.Deaf, closed: make(chan struct{})}
	s.ctx, s.end = context.WithCancelCause(context.Background())
	s.out.init()
	s.calls.init()
	s.beats.init()
	opening := time.AfterFunc(g.a.host.times.call, func() {
		s.end(failed(ReasonTimeout, "it did not open a session within %v", g.a.host.times.call))
	})
	defer opening.Stop()
	stream, err := g.client.Session(s.ctx)
	if err == nil {
		s.stream = stream
		err = stream.Send(&wire.FromHost{Message: &wire.FromHost_Welcome{Welcome: &wire.Welcome{
			Credit: Credit, BeatEveryMs: g.a.host.times.beat.Milliseconds(), Generation: g.source,
			MaxBatchItems: MaxBatch, MaxMessageBytes: MaxMessage, MaxFollows: MaxFollows,
		}}})
	}
	if err != nil {
		s.end(nil)
		return nil, s.whyEnded(err)
	}
	s.left = Credit
	s.pub.init(s)
	s.done.Go(s.send)
	s.done.Go(s.receive)
	s.done.Go(s.beat)
	return s, nil
}

// fail ends the session; only the first reason counts.
func (s *session) fail(f *failure) { s.end(f) }

// failure returns why the session ended.
func (s *session) failure() *failure {
	var f *failure
	if errors.As(context.Cause(s.ctx), &f) {
		return f
	}
	return &failure{Reason: ReasonSession, Err: errors.New("the session ended")}
}

// send writes what waits for the adapter, and waits for it alone.
func (s *session) send() {
	for {
		message, ok := s.out.take(s.ctx)
		if !ok {
			return
		}
		if err := s.stream.Send(message); err != nil {
			if err != io.EOF { // which says that receive knows the reason
				s.fail(s.whyEnded(err))
			}
			return
		}
	}
}

// receive takes what the adapter sends, in its order.
func (s *session) receive() {
	defer close(s.closed)
	for {
		message, err := s.stream.Recv()
		if err != nil {
			s.over(err)
			return
		}
		if f := s.take(message); f != nil {
			s.fail(f)
			return
		}
	}
}

// over ends the session for the reason that the stream gives, or, if it was
// drained, leaves that to drain.
func (s *session) over(err error) {
	if s.draining.Load() && err == io.EOF {
		return
	}
	s.fail(s.whyEnded(err))
}

// whyEnded makes a reason of the stream's error.
func (s *session) whyEnded(err error) *failure {
	if cause := (*failure)(nil); errors.As(context.Cause(s.ctx), &cause) {
		return cause
	}
	switch code := status.Code(err); {
	case err == io.EOF:
		return failed(ReasonSession, "it ended the session")
	case code == codes.ResourceExhausted:
		return failed(ReasonTooLarge, "it sent a message of more than %d bytes", MaxMessage)
	case code == codes.Unavailable:
		return failed(ReasonSession, "the connection ended: %.300s", status.Convert(err).Message())
	default:
		return failed(ReasonSession, "it ended the session: %.300s", status.Convert(err).Message())
	}
}

// take deals with one message. It returns how the adapter broke the contract.
func (s *session) take(m *wire.FromAdapter) *failure {
	switch m := m.Message.(type) {
	case *wire.FromAdapter_Batch:
		return s.takeBatch(m.Batch)
	case *wire.FromAdapter_Result:
		s.takeResult(m.Result)
	case *wire.FromAdapter_Log:
		s.a.logged(m.Log)
	case *wire.FromAdapter_Metrics:
		s.a.values.put(s.g.number, m.Metrics.GetValues())
	case *wire.FromAdapter_Beat:
		return s.beats.answer(m.Beat.GetNumber())
	case *wire.FromAdapter_Follow:
		return s.takeFollow(m.Follow)
	case *wire.FromAdapter_FollowCredit:
		s.takeFollowCredit(m.FollowCredit)
	case *wire.FromAdapter_Unfollow:
		s.takeUnfollow(m.Unfollow)
	default:
		return failed(ReasonContract, "it sent an empty message, or one of a newer contract")
	}
	return nil
}

// takeBatch checks a batch against the contract and queues it.
func (s *session) takeBatch(b *wire.Batch) *failure {
	n := len(b.Items)
	switch {
	case b.Id != s.lastBatch+1:
		return failed(ReasonContract, "batch %d came behind batch %d: they are numbered from 1, by one more each", b.Id, s.lastBatch)
	case n == 0:
		return failed(ReasonContract, "batch %d is empty", b.Id)
	case n > MaxBatch:
		return failed(ReasonContract, "batch %d has %d items, more than %d", b.Id, n, MaxBatch)
	}
	s.left += s.pub.takeCredit()
	if s.left -= n; s.left < 0 {
		return failed(ReasonContract, "batch %d has %d items more than there was credit for", b.Id, -s.left)
	}
	s.lastBatch = b.Id
	s.calls.touch(b.Items)
	s.a.stats.items.Add(int64(n))
	if !s.pub.put(s.ctx, b) {
		return nil // the session has ended
	}
	s.received.Store(b.Id)
	return nil
}

// close ends the session, and returns when nobody works for it any more but the
// publisher.
func (s *session) close(f *failure) {
	s.fail(f)
	s.done.Wait()
	s.calls.failAll(s.failure())
}
