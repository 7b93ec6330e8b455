package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"
	"sync"
	"syscall"
	"time"

	paho "github.com/eclipse/paho.mqtt.golang"
	"github.com/eclipse/paho.mqtt.golang/packets"
)

const (
	dialTimeout = 10 * time.Second
	keepAlive   = 30 * time.Second
	// pingPatience is how long an answer to a ping may take. Answers stand behind
	// messages, which wait while the journal is slow.
	pingPatience = 60 * time.Second
	// awayAfter is how long the broker may be lost without entities becoming unavailable: it
	// may only have been started anew.
	awayAfter = 3 * time.Second
	// longestPause is the longest between two tries to connect.
	longestPause = 30 * time.Second
	// answerPatience is how long the answer to a command may take.
	answerPatience = 20 * time.Second
	// subscribeRun and subscribeBytes are how many topics are subscribed to by one request:
	// brokers bound its size.
	subscribeRun   = 100
	subscribeBytes = 64 << 10
)

// A client is a connection to a broker, made anew whenever it is lost.
type client struct {
	// Static after dial.
	b    *bridge
	paho paho.Client
	kept *paho.MemoryStore // what the broker has not acknowledged
	stop context.CancelFunc
	ctx  context.Context
	jobs // subscribing, in order

	mu sync.Mutex
	// Guarded by mu.
	why     string // why there is no connection; empty: there is one
	reached bool   // there was one once
}

// dial begins to connect to the broker. It doesn't wait.
func (b *bridge) dial(ctx context.Context) (link, error) {
	s := &b.settings
	c := &client{
		b: b, kept: paho.NewMemoryStore(), jobs: jobs{wake: make(chan struct{}, 1)}, why: "it is connecting to " + s.url.Host,
	}
	c.ctx, c.stop = context.WithCancel(context.WithoutCancel(ctx))
	id, err := clientID(b.stateDir)
	if err != nil {
		return nil, err
	}
	o := paho.NewClientOptions()
	o.AddBroker(s.url.String()).SetClientID(id).SetUsername(s.Username).SetPassword(s.password)
	o.SetCleanSession(false).SetProtocolVersion(4)
	o.SetKeepAlive(keepAlive).SetPingTimeout(pingPatience).SetConnectTimeout(dialTimeout).SetWriteTimeout(dialTimeout)
	o.SetAutoReconnect(true).SetConnectRetry(true).SetConnectRetryInterval(time.Second).SetMaxReconnectInterval(longestPause)
	o.SetStore(c.kept).SetOrderMatters(true).SetAutoAckDisabled(true)
	o.SetCustomOpenConnectionFn(c.open)
	o.SetDefaultPublishHandler(c.received)
	o.SetOnConnectHandler(c.connected)
	o.SetConnectionLostHandler(func(_ paho.Client, err error) { c.lost(err) })
	o.SetConnectionNotificationHandler(c.notice)
	if s.statusTopic != "" {
		o.SetWill(s.statusTopic, "offline", 0, false)
	}
	c.paho = paho.NewClient(o)
	go c.run(c.ctx)
	c.paho.Connect() // it tries until it succeeds or is disconnected
	return c, nil
}

// open makes the network connection.
func (c *client) open(u *url.URL, _ paho.ClientOptions) (conn net.Conn, err error) {
	ctx, cancel := context.WithTimeout(c.ctx, dialTimeout)
	defer cancel()
	dialer := &net.Dialer{}
	switch u.Scheme {
	case "ws", "wss":
		conn, err = paho.NewWebsocket(u.String(), c.b.settings.tls, dialTimeout, http.Header{}, nil)
	default:
		if conn, err = dialer.DialContext(ctx, "tcp", u.Host); err == nil {
			conn = quick(conn)
		}
		if err == nil && u.Scheme == "mqtts" {
			config := c.b.settings.tls.Clone()
			if config.ServerName == "" {
				config.ServerName = u.Hostname()
			}
			secured := tls.Client(conn, config)
			if err = secured.HandshakeContext(ctx); err != nil {
				conn.Close()
				err = &handshakeError{err}
			}
			conn = secured
		}
	}
	if err != nil {
		return nil, err
	}
	return newLimited(conn, func(topic string) {
		c.b.numbers.oversized.Add(1)
		c.b.reports.warn("a message was cut", topic, fmt.Errorf("it has more than %d bytes", maxPayload))
	}), nil
}

// notice keeps why the broker refuses the connection.
func (c *client) notice(_ paho.Client, n paho.ConnectionNotification) {
	if failed, ok := n.(paho.ConnectionNotificationFailed); ok && c.ctx.Err() == nil {
		c.notReached(failed.Reason)
	}
}

func (c *client) notReached(err error) {
	text := reason(err)
	c.mu.Lock()
	if !c.reached {
		text += hint(c.b.settings.url.Scheme, err)
	}
	why := c.b.settings.url.Host + ": " + text
	changed := c.why != why
	c.why = why
	c.mu.Unlock()
	if changed {
		c.b.log.Warn("the broker can't be reached; trying on", "broker", c.b.settings.url.Host, "err", text)
	}
}

// A handshakeError says that the connection failed before it was secure.
type handshakeError struct{ error }

// Unwrap returns the cause.
func (e *handshakeError) Unwrap() error { return e.error }

// hint says what may be wrong where a broker that was never reached does not speak as the address
// says.
func hint(scheme string, err error) string {
	var record tls.RecordHeaderError
	var early *handshakeError
	switch plain := scheme == "mqtt" || scheme == "ws"; {
	case plain && (errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, syscall.ECONNRESET) || errors.Is(err, errAlert)):
		return "; the port may want " + scheme + "s://"
	case !plain && (errors.As(err, &record) || errors.As(err, &early) && errors.Is(err, syscall.ECONNRESET)): // as Mosquitto does
		return "; the port may want " + strings.TrimSuffix(scheme, "s") + "://"
	}
	return ""
}

// reason puts why a connection failed into words that stay the same from one attempt
// to the next.
func reason(err error) string {
	text := strings.TrimPrefix(err.Error(), "network Error : ")
	var op *net.OpError
	switch {
	case errors.Is(err, packets.ErrorRefusedNotAuthorised), errors.Is(err, packets.ErrorRefusedBadUsernameOrPassword):
		return text + ": check username and password"
	case errors.As(err, &op) && op.Source != nil:
		return op.Op + ": " + strings.TrimPrefix(op.Err.Error(), op.Op+": ") // without the port on this side
	case errors.Is(err, io.EOF):
		return "the broker hung up"
	}
	return text
}

func (c *client) lost(err error) {
	c.b.numbers.losses.Add(1)
	c.notReached(err)
	time.AfterFunc(awayAfter, func() {
		if c.unreached() != nil && c.ctx.Err() == nil {
			c.b.setAway(true)
		}
	})
}

// connected listens to everything again, and says that the home is there: devices
// announce themselves then.
func (c *client) connected(paho.Client) {
	c.b.log.Info("connected to the broker", "broker", c.b.settings.url.Host)
	c.later(func() {
		c.b.mu.Lock()
		topics := c.b.routes.topics()
		c.b.mu.Unlock()
		c.ask(c.b.settings.discoveryFilters(), 0)
		c.ask(topics, 1)
		c.mu.Lock()
		c.why, c.reached = "", true
		c.mu.Unlock()
		c.b.setAway(false)
		if topic := c.b.settings.statusTopic; topic != "" {
			ctx, cancel := context.WithTimeout(c.ctx, dialTimeout)
			defer cancel()
			if err := c.send(ctx, outgoing{topic: topic, payload: "online"}); err != nil {
				c.b.log.Warn("telling devices that the home is there", "topic", topic, "err", err)
			}
		}
		c.b.bornAgain()
	})
}

// received hands a message to the bridge. Messages come one at a time, and wait here while the
// bridge is busy.
func (c *client) received(_ paho.Client, m paho.Message) {
	in := &message{topic: m.Topic(), payload: m.Payload(), retained: m.Retained()}
	if m.Qos() > 0 {
		in.ack = m.Ack
	}
	select {
	case c.b.inbox <- in:
	case <-c.ctx.Done():
	}
}

func (c *client) subscribe(topics []string) {
	if len(topics) > 0 {
		c.later(func() { c.ask(topics, 1) })
	}
}

// ask subscribes. When there is no connection, connected will. Announcements come with
// quality 0: brokers send few messages of quality 1 at once, and those of devices that are
// not known yet are not acknowledged until they are.
func (c *client) ask(topics []string, qos byte) {
	for len(topics) > 0 && c.paho.IsConnectionOpen() {
		n := inOneRequest(topics)
		filters := make(map[string]byte, n)
		for _, topic := range topics[:n] {
			filters[topic] = qos
		}
		topics = topics[n:]
		token := c.paho.SubscribeMultiple(filters, nil)
		if err := c.answered(token); err != nil {
			c.b.log.Warn("subscribing", "topics", n, "err", err)
			return
		}
		for topic, code := range token.(*paho.SubscribeToken).Result() {
			if code == 0x80 {
				c.b.reports.warn("the broker refuses a subscription", topic, errors.New("this user may not read it"))
			}
		}
	}
}

// answered waits for the answer to a subscription as long as there is a connection: it
// stands behind messages, which wait while the journal is slow.
func (c *client) answered(t paho.Token) error {
	for {
		err := c.await(c.ctx, t)
		if !errors.Is(err, errSilent) || !c.paho.IsConnectionOpen() {
			return err
		}
	}
}

// inOneRequest is how many topics a request takes.
func inOneRequest(topics []string) (n int) {
	size := 0
	for n < min(len(topics), subscribeRun) && (n == 0 || size+len(topics[n]) <= subscribeBytes) {
		size += len(topics[n])
		n++
	}
	return n
}

func (c *client) unsubscribe(topics []string) {
	if len(topics) == 0 {
		return
	}
	c.later(func() {
		for len(topics) > 0 && c.paho.IsConnectionOpen() {
			n := inOneRequest(topics)
			if err := c.answered(c.paho.Unsubscribe(topics[:n]...)); err != nil {
				c.b.log.Warn("unsubscribing", "topics", n, "err", err)
				return
			}
			topics = topics[n:]
		}
	})
}

func (c *client) publish(ctx context.Context, out ...outgoing) error {
	if err := c.unreached(); err != nil {
		return err
	}
	return c.send(ctx, out...)
}

// unreached says why there is no connection; nil if there is one.
func (c *client) unreached() error {
	if c.paho.IsConnectionOpen() {
		return nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.why == "" {
		return errUnreached
	}
	return fmt.Errorf("%w (%s)", errUnreached, c.why)
}

// send sends messages at once, and waits for all of them. One that failed is not sent
// later, when nobody expects it any more.
func (c *client) send(ctx context.Context, out ...outgoing) (err error) {
	tokens := make([]*paho.PublishToken, len(out))
	for i, o := range out {
		tokens[i] = c.paho.Publish(o.topic, o.qos, o.retain, o.payload).(*paho.PublishToken)
	}
	for i, t := range tokens {
		if err == nil {
			err = c.await(ctx, t)
		}
		if err == nil && out[i].qos == 0 {
			err = c.unreached() // nothing else tells that the connection was lost before it was sent
		}
		if err != nil && t.MessageID() != 0 {
			c.kept.Del(fmt.Sprintf("o.%d", t.MessageID())) // the key that paho has for it
		}
	}
	return err
}

// errSilent says that the broker takes long to answer.
var errSilent = errors.New("the broker does not answer")

// await waits until something is done, ctx ends, or it takes too long.
func (c *client) await(ctx context.Context, t paho.Token) error {
	limit := time.NewTimer(c.b.patience)
	defer limit.Stop()
	select {
	case <-t.Done():
		return t.Error()
	case <-ctx.Done():
		return ctx.Err()
	case <-c.ctx.Done():
		return errUnreached
	case <-limit.C:
		return errSilent
	}
}

func (c *client) health() (bool, string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.why != "" {
		return false, "the broker can't be reached: " + c.why
	}
	return true, ""
}

// close says goodbye: without it the broker would tell our last will. It does so behind an answer of
// the broker's, which handles what a connection says in order: with that it has the acknowledgements. Mosquitto
// may handle them later than the next process's connection, which then is sent again what was acknowledged.
func (c *client) close() {
	if topic := c.b.settings.statusTopic; topic != "" && c.paho.IsConnectionOpen() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		_ = c.send(ctx, outgoing{topic: topic, payload: "offline"}) // the will says it, if this fails
		cancel()
	}
	c.stop() // what still comes is for the next process
	if c.paho.IsConnectionOpen() {
		c.paho.Unsubscribe(nowhere).WaitTimeout(time.Second)
	}
	c.paho.Disconnect(100)
}

// nowhere is a topic that is subscribed to never.
const nowhere = "carillon/nowhere"

// clientID returns the name that the broker keeps the session under. It is made once.
func clientID(dir string) (string, error) {
	file := dir + "/client_id"
	text, err := os.ReadFile(file)
	if id := strings.TrimSpace(string(text)); err == nil && id != "" {
		return id, nil
	}
	id := "carillon-" + randomText()
	if err := os.WriteFile(file, []byte(id+"\n"), 0o600); err != nil {
		return "", fmt.Errorf("keeping the client's id: %w", err)
	}
	return id, nil
}
