package runtimetest

import (
	"testing"

	"carillon/plugins/adapter"
)

func TestVirtualKeepsTheContract(t *testing.T) {
	t.Parallel()
	TestAdapter(t, AdapterTest{
		New:      func() adapter.Adapter { return &Virtual{} },
		Config:   `{"lamps":3,"counters":20,"every_ms":1}`,
		Wrong:    map[string]string{`{"lamps":-1}`: "/lamps", `{"lamps":"x"}`: "/lamps", `{"lamp":1}`: "/lamp"},
		Entities: 23,
	})
}

func TestVirtualThatFollowsKeepsTheContract(t *testing.T) {
	t.Parallel()
	TestAdapter(t, AdapterTest{
		New:      func() adapter.Adapter { return &Virtual{} },
		Config:   `{"lamps":1,"follow":true}`,
		Entities: 2,
	})
}
