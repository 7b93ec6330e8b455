package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// ids are the entity ids that were given, so that a device has the same ones after a
// restart, in whatever order devices announce themselves.
type ids struct {
	file    string
	byKey   map[string]string
	taken   map[string]bool
	next    map[string]int // where to look for a free number, by id without one
	changed bool
}

// idsFile is in the adapter's own folder.
const idsFile = "entities.json"

type idsWire struct {
	Version int               `json:"version"`
	IDs     map[string]string `json:"ids"`
}

// load reads the ids that were given before.
func (ids *ids) load(dir string) error {
	ids.byKey, ids.taken, ids.next, ids.file = map[string]string{}, map[string]bool{}, map[string]int{}, filepath.Join(dir, idsFile)
	text, err := os.ReadFile(ids.file)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	var w idsWire
	if err == nil {
		err = json.Unmarshal(text, &w)
	}
	if err != nil {
		return fmt.Errorf("reading the ids of entities: %w (remove %s to have them made anew)", err, ids.file)
	}
	for key, id := range w.IDs {
		ids.byKey[key], ids.taken[id] = id, true
	}
	return nil
}

// assign returns the id of an entity.
func (ids *ids) assign(e *entity) string {
	if id := ids.byKey[e.key]; id != "" && strings.HasPrefix(id, e.domain+".") {
		return id
	}
	object := e.wish
	for _, other := range []string{slug(e.friendlyName()), slug(e.part.object), "mqtt"} {
		if object == "" {
			object = other
		}
	}
	base := e.domain + "." + object
	id := base
	n := max(ids.next[base], 2)
	for ; ids.taken[id]; n++ {
		id = base + "_" + strconv.Itoa(n)
	}
	if id != base {
		ids.next[base] = n
	}
	ids.byKey[e.key], ids.taken[id], ids.changed = id, true, true
	return id
}

// release forgets the id of an entity that is gone for good.
func (ids *ids) release(key string) {
	if id, known := ids.byKey[key]; known {
		delete(ids.byKey, key)
		delete(ids.taken, id)
		delete(ids.next, strings.TrimRight(strings.TrimRight(id, "0123456789"), "_"))
		ids.changed = true
	}
}

// save keeps the ids, whole or not at all.
func (ids *ids) save() error {
	if !ids.changed {
		return nil
	}
	text, err := json.MarshalIndent(idsWire{Version: 1, IDs: ids.byKey}, "", " ")
	if err == nil {
		err = writeSynced(ids.file+".new", text)
	}
	if err == nil {
		err = os.Rename(ids.file+".new", ids.file)
	}
	ids.changed = err != nil
	return err
}

// writeSynced writes a file that is whole also after a power cut, once it is renamed.
func writeSynced(file string, text []byte) error {
	f, err := os.OpenFile(file, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(text)
	return errors.Join(err, f.Sync(), f.Close())
}
