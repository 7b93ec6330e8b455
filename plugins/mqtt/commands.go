package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"carillon/plugins/adapter"
	"carillon/plugins/mqtt/template"
)

// storyLasts is how long what a device tells belongs to the last command that it got.
const storyLasts = 2 * time.Second

// obey does a command: it sends its messages, and waits until the broker has them and,
// for a moment, until the device has told what came of it.
func (b *bridge) obey(ctx context.Context, c adapter.Command) (any, error) {
	out, assume, e, err := b.prepare(c)
	if err != nil {
		return nil, err
	}
	r := b.expect(ctx, e, out)
	defer b.expectNoMore(e, r)
	if err := b.link.publish(ctx, out...); err != nil {
		return nil, fmt.Errorf("publishing: %w", err)
	}
	b.numbers.published.Add(int64(len(out)))
	if assume != nil {
		return nil, b.assume(e, assume)
	}
	patience := time.NewTimer(b.settings.confirm)
	defer patience.Stop()
	select {
	case <-r.done:
		// What it told is published by whoever holds the lock, which expectNoMore takes.
		return nil, r.err
	case <-patience.C:
	case <-ctx.Done():
	}
	return nil, nil
}

// prepare makes the messages of a command.
func (b *bridge) prepare(c adapter.Command) (out []outgoing, assume func(), e *entity, err error) {
	call, err := readCall(c.Service, c.Data)
	if err != nil {
		return nil, nil, nil, &adapter.DataError{Err: err}
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if e = b.entities[c.EntityID]; e == nil {
		return nil, nil, nil, fmt.Errorf("%s is gone", c.EntityID)
	}
	do := e.commands[c.Service]
	switch {
	case do == nil:
		return nil, nil, nil, fmt.Errorf("%s takes no %s", e.id, c.Service)
	case !e.available():
		return nil, nil, nil, errors.New("the device is unavailable")
	}
	out, assume, err = do(call)
	var rendering *template.Error
	if err != nil && !errors.As(err, &rendering) {
		err = &adapter.DataError{Err: err}
	}
	return out, assume, e, err
}

// A reply is what a device says to a command. It is guarded by bridge.mu.
type reply struct {
	requests []int64       // that Shellies answer
	done     chan struct{} // closed when the device tells its state, or refuses the command
	err      error         // why it refuses; doesn't change once done is closed
}

// end says that the reply is there. Callers hold mu.
func (r *reply) end(err error) {
	select {
	case <-r.done:
	default:
		r.err = err
		close(r.done)
	}
}

// expect says that what the device tells next comes of a command.
func (b *bridge) expect(ctx context.Context, e *entity, out []outgoing) *reply {
	b.mu.Lock()
	defer b.mu.Unlock()
	e.story, e.told = context.WithoutCancel(ctx), time.Now()
	r := &reply{done: make(chan struct{})}
	e.replies = append(e.replies, r)
	for _, o := range out {
		if o.request != 0 {
			r.requests = append(r.requests, o.request)
			b.shellies.commands[o.request] = r
		}
	}
	return r
}

// expectNoMore takes back what expect did, as far as it is still waited for.
func (b *bridge) expectNoMore(e *entity, r *reply) {
	b.mu.Lock()
	defer b.mu.Unlock()
	e.replies = slices.DeleteFunc(e.replies, func(other *reply) bool { return other == r })
	for _, request := range r.requests {
		delete(b.shellies.commands, request)
	}
}

// storyAt returns the context of the command that caused what the device tells now; nil
// if none did.
func (e *entity) storyAt(now time.Time) context.Context {
	if e.story != nil && now.Sub(e.told) > storyLasts {
		e.story = nil
	}
	return e.story
}

// assume shows what a command must have done: nothing tells what it did.
func (b *bridge) assume(e *entity, change func()) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.entities[e.id] != e {
		return nil // it was taken away meanwhile
	}
	before := e.standing
	change()
	if err := e.shorten(before); err != nil {
		b.reports.warn("what a command did can't be shown", e.part.topic, err, "entity_id", e.id)
	}
	b.touch(e)
	return b.emit()
}

// plainObject makes what encoding/json would have made of a JSON object.
func plainObject(d *template.Dict) map[string]any {
	text, err := template.ToJSON(d)
	if err != nil {
		return map[string]any{}
	}
	m, err := parseObject(text)
	if err != nil {
		return map[string]any{}
	}
	return m
}
