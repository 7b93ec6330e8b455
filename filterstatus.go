package main

import (
	"cmp"
	"slices"
	"time"

	"carillon/httpd/broadcast"
)

// A filterStatus is a named filter as GET /api/filters lists it.
type filterStatus struct {
	Name       string    `json:"name"`
	File       string    `json:"file"`
	Generation int       `json:"generation"` // in use; 0 for none
	Tier       string    `json:"tier,omitempty"`
	Cost       int       `json:"cost,omitempty"`
	Index      string    `json:"index,omitempty"`
	Projects   bool      `json:"projects"`
	Streams    int       `json:"streams"`
	LoadedAt   time.Time `json:"loaded_at,omitzero"`
	Quarantine string    `json:"quarantine,omitempty"`
	Error      any       `json:"error"` // why the last save is not in use, or null
}

// list is httpd's ListFilters.
func (n *namedFilters) list(streams map[broadcast.Filter]int) any {
	counts, jailed := map[string]int{}, map[string]string{}
	for f, count := range streams {
		l := f.(*liveFilter)
		if l.origin == nil {
			continue
		}
		counts[l.origin.name] += count
		if l.full != nil {
			if reason, yes := l.full.Quarantined(); yes {
				jailed[l.origin.name] = reason
			}
		}
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	rows := []filterStatus{}
	for _, named := range n.byName {
		if named.current == nil && named.failure == nil && counts[named.name] == 0 {
			continue
		}
		rows = append(rows, named.status(counts[named.name], jailed[named.name]))
		if named.shadowed != nil {
			rows = append(rows, filterStatus{Name: named.name, File: named.shadowed.file, Error: named.shadowed.json()})
		}
	}
	slices.SortFunc(rows, func(a, b filterStatus) int { return cmp.Compare(a.File, b.File) })
	return rows
}

// status is called with mu held.
func (named *namedFilter) status(streams int, quarantine string) filterStatus {
	row := filterStatus{Name: named.name, File: named.file, Streams: streams, Quarantine: quarantine}
	if v := named.current; v != nil {
		row.Generation, row.Tier, row.Cost, row.Index = v.number, v.tier, v.cost, v.index
		row.Projects, row.LoadedAt = v.projects, v.loadedAt
	}
	if named.failure != nil {
		row.Error = named.failure.json()
	}
	return row
}
