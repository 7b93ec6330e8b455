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
	answer := b.expect(ctx, e)
	defer b.expectNoMore(e, answer)
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
	case <-answer:
		// What it told is published by whoever holds the lock, which expectNoMore takes.
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

// expect says that what the device tells next comes of a command. The channel is
// closed when it has told something.
func (b *bridge) expect(ctx context.Context, e *entity) chan struct{} {
	b.mu.Lock()
	defer b.mu.Unlock()
	e.story, e.told = context.WithoutCancel(ctx), time.Now()
	answer := make(chan struct{})
	e.answers = append(e.answers, answer)
	return answer
}

// expectNoMore takes back what expect did, as far as it is still waited for.
func (b *bridge) expectNoMore(e *entity, answer chan struct{}) {
	b.mu.Lock()
	defer b.mu.Unlock()
	e.answers = slices.DeleteFunc(e.answers, func(c chan struct{}) bool { return c == answer })
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
