package journal

import (
	"context"
	"errors"
	"fmt"
	"io/fs"

	"github.com/nats-io/nats.go/jetstream"
)

// ErrNoKey is returned by KV.Get for a key without a value.
var ErrNoKey = fmt.Errorf("no such key: %w", fs.ErrNotExist)

// A KV is a bucket of keys and values in the journal's folder. What Put or
// Delete has done survives a kill of the process.
type KV struct {
	j      *Journal
	bucket string
}

// KV opens a bucket, or makes one. The name is of letters, digits, - and _.
func (j *Journal) KV(bucket string) (*KV, error) {
	if !plain(bucket) {
		return nil, fmt.Errorf("opening bucket %q: a name is of letters, digits, - and _", bucket)
	}
	kv := &KV{j, bucket}
	ctx, cancel := context.WithTimeout(context.Background(), startTimeout)
	defer cancel()
	_, err := kv.open(ctx)
	return kv, err
}

// open makes sure that the bucket is there, once for each run of the server.
func (kv *KV) open(ctx context.Context) (*engine, error) {
	eng, err := kv.j.engine()
	if err != nil {
		return nil, err
	}
	b := &kv.j.buckets
	b.Lock()
	defer b.Unlock()
	if b.open[kv.bucket] == eng {
		return eng, nil
	}
	config := jetstream.KeyValueConfig{Bucket: kv.bucket, Storage: jetstream.FileStorage, History: 1}
	if _, err := eng.js.CreateOrUpdateKeyValue(ctx, config); err != nil {
		return nil, fmt.Errorf("opening bucket %q: %w", kv.bucket, err)
	}
	b.open[kv.bucket] = eng
	return eng, nil
}

func (kv *KV) stream() string            { return "KV_" + kv.bucket }
func (kv *KV) subject(key string) string { return "$KV." + kv.bucket + "." + escape(key) }

// key is the inverse of subject.
func (kv *KV) key(subject string) string { return unescape(subject[len("$KV.")+len(kv.bucket)+1:]) }

// Get returns a key's value, or ErrNoKey.
func (kv *KV) Get(ctx context.Context, key string) ([]byte, error) {
	eng, err := kv.open(ctx)
	if err != nil {
		return nil, err
	}
	stream, err := eng.js.Stream(ctx, kv.stream())
	if err != nil {
		return nil, fmt.Errorf("getting %q: %w", key, err)
	}
	m, err := stream.GetLastMsgForSubject(ctx, kv.subject(key))
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		return nil, ErrNoKey
	}
	if err != nil {
		return nil, fmt.Errorf("getting %q: %w", key, err)
	}
	return m.Data, nil
}

// Put sets a key's value. A key is any text of 1 to 1024 bytes, a value has up
// to MaxEvent bytes.
func (kv *KV) Put(ctx context.Context, key string, value []byte) error {
	if len(key) == 0 || len(key) > 1024 {
		return fmt.Errorf("putting a key of %d bytes: at most 1024 are possible", len(key))
	}
	if len(value) > MaxEvent {
		return fmt.Errorf("putting %q: it has %d bytes, at most %d can be stored", key, len(value), MaxEvent)
	}
	eng, err := kv.open(ctx)
	if err == nil {
		_, err = eng.js.Publish(ctx, kv.subject(key), value)
		kv.j.unsynced.Store(true)
	}
	if err != nil {
		return fmt.Errorf("putting %q: %w", key, err)
	}
	return nil
}

// Delete removes a key; there need not be one.
func (kv *KV) Delete(ctx context.Context, key string) error {
	eng, err := kv.open(ctx)
	if err == nil {
		err = kv.purge(ctx, eng, key)
	}
	if err != nil {
		return fmt.Errorf("deleting %q: %w", key, err)
	}
	return nil
}

// purge leaves no trace of a key, where the bucket's own delete would leave a
// marker for ever.
func (kv *KV) purge(ctx context.Context, eng *engine, key string) error {
	stream, err := eng.js.Stream(ctx, kv.stream())
	if err != nil {
		return err
	}
	err = stream.Purge(ctx, jetstream.WithPurgeSubject(kv.subject(key)))
	kv.j.unsynced.Store(true)
	return err
}

// Keys returns the keys, in no order.
func (kv *KV) Keys(ctx context.Context) ([]string, error) {
	var keys []string
	err := kv.each(ctx, func(key string, _ []byte) bool {
		keys = append(keys, key)
		return true
	})
	return keys, err
}

// each calls fn with all keys and values, in the order in which they were put,
// until fn returns false.
func (kv *KV) each(ctx context.Context, fn func(key string, value []byte) bool) error {
	eng, err := kv.open(ctx)
	if err != nil {
		return err
	}
	stream, err := eng.js.Stream(ctx, kv.stream())
	if err != nil {
		return fmt.Errorf("reading bucket %q: %w", kv.bucket, err)
	}
	r := &reading{stream: kv.stream(), upTo: stream.CachedInfo().State.LastSeq}
	err = eng.read(ctx, r, func(_ uint64, subject string, value []byte) bool {
		return fn(kv.key(subject), value)
	})
	if err != nil {
		return fmt.Errorf("reading bucket %q: %w", kv.bucket, err)
	}
	return nil
}
