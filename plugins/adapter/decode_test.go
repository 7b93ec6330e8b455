package adapter

import (
	"encoding/json"
	"testing"
)

// A mistake is told with its place, and with what may stand there.
func TestDecodeMistakes(t *testing.T) {
	type inner struct {
		On    bool            `json:"on"`
		Raw   json.RawMessage `json:"raw"`
		Count uint            `json:"count,omitempty"`
	}
	type outer struct {
		Name string           `json:"name"`
		List []*inner         `json:"list"`
		Map  map[string]inner `json:"map"`
		hush int
		Not  int `json:"-"`
	}
	for _, test := range []struct{ config, want string }{
		{``, ""},
		{`{"NAME":"a","list":[{"raw":{"name":1}}],"map":{"any":{"on":true}}}`, ""},
		{`{"nam":"a"}`, "/nam: is not known; known here are name, list, map"},
		{`{"hush":1}`, "/hush: is not known; known here are name, list, map"},
		{`{"list":[{"on":true},{"name":true}],"name":""}`, "/list/1/name: is not known; known here are on, raw, count"},
		{`{"map":{"a/b":{"x~":true}}}`, "/map/a~1b/x~0: is not known; known here are on, raw, count"},
		{`{"list":[{"on":"yes"}]}`, "/list/on: must be true or false, not string"},
		{`{"list":{"on":true}}`, "/list: must be a list, not object"},
		{`{"map":[]}`, "/map: must be an object of keys and values, not array"},
		{`{"name":5}`, "/name: must be text, not number"},
		{`{"map":{"a":{"count":-1}}}`, "/map/count: must be a whole number that is not negative, not number -1"},
		{`{`, "unexpected EOF"},
	} {
		got := ""
		if err := (Config{JSON: []byte(test.config)}).Decode(&outer{hush: 1}); err != nil {
			got = err.(FieldErrors).Error()
		}
		if got != test.want {
			t.Errorf("%s: got %q, want %q", test.config, got, test.want)
		}
	}
}
