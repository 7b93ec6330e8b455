package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
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
	gone    [][2]string    // keys and ids of devices that went, in that order: they have them again if nobody else has
	changed bool
}

// maxGone is how many ids of devices that went are remembered.
const maxGone = 1000

// idsFile is in the adapter's own folder.
const idsFile = "entities.json"

type idsWire struct {
	Version int               `json:"version"`
	IDs     map[string]string `json:"ids"`
	Gone    [][2]string       `json:"gone,omitempty"`
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
	ids.gone = w.Gone[:min(len(w.Gone), maxGone)]
	return nil
}

// assign returns the id of an entity.
func (ids *ids) assign(e *entity) string {
	if id := ids.byKey[e.key]; id != "" && strings.HasPrefix(id, e.domain+".") {
		return id
	}
	if id := ids.recall(e.key); id != "" && strings.HasPrefix(id, e.domain+".") && !ids.taken[id] {
		ids.byKey[e.key], ids.taken[id], ids.changed = id, true, true
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

// recall returns the id that an entity had before it went, and forgets it; empty if there is none.
func (ids *ids) recall(key string) (id string) {
	at := slices.IndexFunc(ids.gone, func(one [2]string) bool { return one[0] == key })
	if at >= 0 {
		id = ids.gone[at][1]
		ids.gone = slices.Delete(ids.gone, at, at+1)
	}
	return id
}

// release takes the id of an entity that is gone. It may have it again, if it is known by a
// unique_id: devices go and come back by another topic.
func (ids *ids) release(key string) {
	if id, known := ids.byKey[key]; known {
		if _, rest, _ := strings.Cut(key, "/"); strings.HasPrefix("/"+rest, uniqueKey) {
			ids.gone = append(ids.gone, [2]string{key, id})
			ids.gone = slices.Delete(ids.gone, 0, max(len(ids.gone)-maxGone, 0))
		}
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
	text, err := json.MarshalIndent(idsWire{Version: 1, IDs: ids.byKey, Gone: ids.gone}, "", " ")
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
