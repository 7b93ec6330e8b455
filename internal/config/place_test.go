package config

import (
	"strings"
	"testing"
)

func TestLine(t *testing.T) {
	text := []byte(`# a home
plugins:
  modbus:
    config:
      interval: 1s
      devices:
        - id: boiler
          entities:
            - {id: sensor.a, address: 1}
            - id: sensor.b
              address: 70000
        - {id: pump,
           address: x}
      names: [a,
        b]
`)
	for path, want := range map[string]int{
		"plugins": 2, "plugins modbus config": 4, "plugins modbus config interval": 5,
		"plugins modbus config devices 0": 7, "plugins modbus config devices 0 entities 0 address": 9,
		"plugins modbus config devices 0 entities 1": 10, "plugins modbus config devices 0 entities 1 address": 11,
		"plugins modbus config devices 1 address": 13, "plugins modbus config names 1": 15,
		"plugins modbus config devices 0 entities 1 table": 10, "plugins modbus config devices 7": 6, "plugins modbus config interval x": 5,
		"plugins modbus config devices -1": 6, "server": 0, "": 0,
	} {
		if got := Line(text, strings.Fields(path)); got != want {
			t.Errorf("%s: got line %d, want %d", path, got, want)
		}
	}
	for _, broken := range []string{"", "a: [", "\xff", "a: &x 1\nb: *x\n"} {
		if got := Line([]byte(broken), []string{"b"}); got > 2 {
			t.Errorf("%q: got line %d", broken, got)
		}
	}
}
