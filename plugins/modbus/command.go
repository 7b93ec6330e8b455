package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"time"

	"carillon/plugins/adapter"
)

// obey carries out a command. When it returns, the entity shows what has become of it.
func (g *gateway) obey(ctx context.Context, c adapter.Command) (any, error) {
	o, ok := g.outlets[c.EntityID]
	if !ok {
		return nil, fmt.Errorf("there is no %s", c.EntityID)
	}
	bits, toggles, err := o.point.wanted(c)
	if err != nil {
		return nil, &adapter.DataError{Err: err}
	}
	return nil, o.line.command(ctx, func(ctx context.Context) error {
		return o.line.write(ctx, o.station, o.point, bits, toggles)
	})
}

// wanted returns the bits that a command asks to write, or that it asks for the other ones.
func (p *point) wanted(c adapter.Command) (bits uint64, toggles bool, err error) {
	var data struct {
		Value  json.RawMessage `json:"value"`
		Option *string         `json:"option"`
	}
	if len(c.Data) > 0 {
		if err := json.Unmarshal(c.Data, &data); err != nil {
			return 0, false, fmt.Errorf("the data of %s.%s: option must be text: %w", c.Domain, c.Service, err)
		}
	}
	switch c.Service {
	case "turn_on":
		return p.on, false, nil
	case "turn_off":
		return p.off, false, nil
	case "toggle":
		return 0, true, nil
	case "press":
		return p.press, false, nil
	case "set_value":
		var x json.Number // text is fine, too
		value, err := 0.0, json.Unmarshal(data.Value, &x)
		if err == nil {
			value, err = strconv.ParseFloat(string(x), 64)
		}
		if err != nil {
			return 0, false, errors.New(`set_value needs a number, such as {"value": 21.5}`)
		}
		bits, err = p.bitsOf(value)
		return bits, false, err
	case "select_option":
		if data.Option == nil {
			return 0, false, fmt.Errorf(`select_option needs an option, such as {"option": %q}`, p.options[0])
		}
		bits, err = p.option(*data.Option)
		return bits, false, err
	}
	return 0, false, fmt.Errorf("it takes no %s", c.Service)
}

// write writes a point, reads it back and publishes what it reads.
func (l *line) write(ctx context.Context, s *station, p *point, bits uint64, toggles bool) error {
	if toggles {
		now, err := l.readPoint(ctx, s, p)
		if err != nil {
			return err
		}
		if bits = p.on; now == on {
			bits = p.off
		}
	}
	if err := l.send(ctx, s, p, bits); err != nil {
		if refusal := exception(0); s.failures == 0 && !errors.As(err, &refusal) {
			s.hurry(time.Now()) // does it answer at all?
		}
		return fmt.Errorf("writing %s: %w", p.write.place, err)
	}
	if err := l.answered(ctx, s); err != nil {
		return err
	}
	want, _ := p.meaning(bits)
	switch {
	case p.domain == "button":
		want = time.Now().UTC().Format(time.RFC3339) // when it was pressed last, as Home Assistant has it
		return l.publish(ctx, p, want)
	case !p.write.verify:
		return l.publish(ctx, p, want)
	}
	return l.verify(ctx, s, p, want)
}

// send writes the bits of a point.
func (l *line) send(ctx context.Context, s *station, p *point, bits uint64) error {
	w := p.write
	switch {
	case w.place.table == coil:
		_, err := l.request(ctx, s, writeOf(w.function, w.place.address, []byte{byte(bits)}))
		return err
	case p.bit < 0:
		_, err := l.request(ctx, s, writeOf(w.function, w.place.address, p.order.split(bits, p.length)))
		return err
	}
	mask := uint16(order{}.join(p.order.split(uint64(1)<<p.bit, 1)))
	if w.function == maskRegister {
		_, err := l.request(ctx, s, maskOf(w.place.address, ^mask, mask*uint16(bits)))
		return err
	}
	data, err := l.request(ctx, s, readOf(holding, w.place.address, 1))
	if err != nil {
		return err
	}
	before := uint16(order{}.join(data))
	_, err = l.request(ctx, s, writeOf(w.function, w.place.address, order{}.split(uint64(before&^mask|mask*uint16(bits)), 1)))
	return err
}

// reread is the pause between two looks at what takes a while to become as it was written.
const reread = 100 * time.Millisecond

// verify reads a point until it is what was written, or has had its time.
func (l *line) verify(ctx context.Context, s *station, p *point, want string) error {
	end := time.Now().Add(p.write.settle)
	for {
		now, err := l.readPoint(ctx, s, p)
		left := time.Until(end)
		refusal := exception(0)
		busy := left > 0 && errors.As(err, &refusal) && refusal.passing() // with what was written
		if err != nil && !busy {
			return fmt.Errorf("it was written, and then: %w", err)
		}
		if !busy && (p.near(now, want) || left <= 0) {
			if err := l.publish(ctx, p, now); err != nil {
				return err
			}
			if !p.near(now, want) {
				return fmt.Errorf("it was set to %s, and is %s: the device doesn't take that, or needs longer than write.settle allows", want, now)
			}
			return nil
		}
		select {
		case <-time.After(min(reread, left)):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// readPoint reads the state of a point.
func (l *line) readPoint(ctx context.Context, s *station, p *point) (string, error) {
	data, err := l.request(ctx, s, readOf(p.place.table, p.place.address, p.length))
	if err != nil {
		return "", fmt.Errorf("reading %s: %w", p.place, err)
	}
	if err := l.answered(ctx, s); err != nil {
		return "", err
	}
	text, _ := p.state(data, p.place.address)
	return text, nil
}

// publish publishes the state of a point, with the context of the command that it comes of.
func (l *line) publish(ctx context.Context, p *point, state string) error {
	if err := l.h.Set(ctx, adapter.State{EntityID: p.id, State: state}); err != nil {
		return fmt.Errorf("publishing: %w", err)
	}
	return l.back(ctx, p)
}
