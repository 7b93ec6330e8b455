package journal

import (
	"context"
	"encoding/json"
	"fmt"
	"strconv"

	"github.com/nats-io/nats.go/jetstream"

	"carillon/runtime"
)

// The saved entity table is a bucket with a key for each entity and one for the
// sequence that it is folded up to, written last. A kill in between leaves some
// states newer than that sequence says. That does no harm: a fold replaces an
// entity's state by its event's new one, so folding the events behind the
// sequence once more ends at the same table. The bucket's stream keeps its
// order on the disk, so a crash of the machine can't keep the sequence and lose
// a state before it.
const (
	entityKey = "e." // and the entity's id
	upToKey   = "upto"
)

type savedState struct {
	State  *runtime.State `json:"state"`
	Source string         `json:"source"`
}

// LoadStates implements runtime.Journal. The sequence is never beyond the
// journal's last: after a crash of the machine the table may know events that
// the journal lost.
func (j *Journal) LoadStates(ctx context.Context) (states []runtime.StoredState, upTo uint64, err error) {
	kv, err := j.KV(stateTable)
	if err != nil {
		return nil, 0, fmt.Errorf("loading states: %w", err)
	}
	err = kv.each(ctx, func(key string, value []byte) bool {
		if key == upToKey {
			upTo, _ = strconv.ParseUint(string(value), 10, 64)
			return true
		}
		var saved savedState
		if err := json.Unmarshal(value, &saved); err != nil || saved.State == nil {
			j.log.Error("journal: passing over an unreadable saved state", "key", key, "error", err)
			return true
		}
		states = append(states, runtime.StoredState(saved))
		return true
	})
	if err != nil {
		return nil, 0, fmt.Errorf("loading states: %w", err)
	}
	return states, min(upTo, j.durable.Load()), nil
}

// savesAtOnce is how many states may be unacknowledged while saving.
const savesAtOnce = 2048

// SaveStates implements runtime.Journal.
func (j *Journal) SaveStates(ctx context.Context, changed []runtime.StoredState, removed []string, upTo uint64) error {
	if err := j.saveStates(ctx, changed, removed, upTo); err != nil {
		return fmt.Errorf("saving states: %w", err)
	}
	return nil
}

func (j *Journal) saveStates(ctx context.Context, changed []runtime.StoredState, removed []string, upTo uint64) error {
	kv, err := j.KV(stateTable)
	if err != nil {
		return err
	}
	eng, err := kv.open(ctx)
	if err != nil {
		return err
	}
	acks := make([]jetstream.PubAckFuture, 0, min(len(changed), savesAtOnce))
	for i, s := range changed {
		value, err := json.Marshal(savedState(s))
		if err != nil {
			return err
		}
		ack, err := eng.js.PublishAsync(kv.subject(entityKey+s.State.EntityID), value)
		if err != nil {
			return err
		}
		if acks = append(acks, ack); len(acks) == savesAtOnce || i == len(changed)-1 {
			if err := waitAcks(ctx, acks); err != nil {
				return err
			}
			acks = acks[:0]
		}
	}
	for _, id := range removed {
		if err := kv.purge(ctx, eng, entityKey+id); err != nil {
			return err
		}
	}
	return kv.Put(ctx, upToKey, strconv.AppendUint(nil, upTo, 10))
}

func waitAcks(ctx context.Context, acks []jetstream.PubAckFuture) error {
	for _, ack := range acks {
		select {
		case <-ack.Ok():
		case err := <-ack.Err():
			return err
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}
