package main

import (
	"bufio"
	"fmt"
	"io"
	"maps"
	"net"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"
)

// A simulator is a process of testdata/simulator.py.
type simulator struct {
	t       *testing.T
	cmd     *exec.Cmd
	in      io.WriteCloser
	out     *bufio.Scanner
	address string
}

// python is Debian's own, which has python3-pymodbus.
const python = "/usr/bin/python3"

// simulate starts a simulator on a port; "0" is any. On CI its absence fails the test.
func simulate(t *testing.T, port, framing string) *simulator {
	t.Helper()
	if out, err := exec.Command(python, "-c", "import pymodbus, serial_asyncio").CombinedOutput(); err != nil {
		if os.Getenv("CI") != "" {
			t.Fatalf("CI must have python3-pymodbus and python3-serial-asyncio: %v\n%s", err, out)
		}
		t.Skip("python3-pymodbus and python3-serial-asyncio are not installed")
	}
	s := &simulator{t: t, cmd: exec.Command(python, "testdata/simulator.py", port, framing)}
	var said strings.Builder
	s.cmd.Stderr = &said
	in, err := s.cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := s.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := s.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		s.kill()
		if t.Failed() {
			t.Logf("the simulator said: %.2000s", said.String())
		}
	})
	s.in, s.out = in, bufio.NewScanner(out)
	s.address = net.JoinHostPort("127.0.0.1", s.line())
	return s
}

func (s *simulator) kill() {
	s.cmd.Process.Kill()
	s.cmd.Wait()
}

// line returns the next line that it prints.
func (s *simulator) line() string {
	s.t.Helper()
	if !s.out.Scan() {
		s.t.Fatalf("the simulator ended: %v", s.out.Err())
	}
	return s.out.Text()
}

// tell has it do something and returns what it prints.
func (s *simulator) tell(format string, args ...any) string {
	s.t.Helper()
	fmt.Fprintf(s.in, format+"\n", args...)
	return s.line()
}

// shows waits until entities are as wanted.
func (b *bench) shows(want map[string]string) {
	b.t.Helper()
	missing := maps.Clone(want)
	var seen []string
	for deadline := time.Now().Add(time.Minute); len(missing) > 0; {
		for _, said := range b.news() {
			seen = append(seen, said)
			if id, state, ok := strings.Cut(said, "="); ok && missing[id] == state {
				delete(missing, id)
			} else if id, what, ok := strings.Cut(said, " "); ok && missing[id] == what {
				delete(missing, id)
			}
		}
		if time.Now().After(deadline) {
			b.t.Fatalf("not within 15 s: %v; there were %q", missing, seen)
		}
		<-time.After(5 * time.Millisecond)
	}
}

// typed is every type in every order, as testdata/simulator.py has them.
func typed() (entities []string, want map[string]string) {
	want = map[string]string{}
	for i, order := range []string{"ABCD", "CDAB", "BADC", "DCBA"} {
		at := 1000 + 100*i
		for _, v := range []struct{ kind, want string }{
			{"int16", "-2"}, {"uint16", "65534"}, {"int32", "-70000"}, {"uint32", "4000000000"}, {"int64", "-5000000000"},
			{"uint64", "18000000000000000001"}, {"float32", "21.5"}, {"float64", "-1234.5678"},
		} {
			id := "sensor." + v.kind + "_" + strings.ToLower(order)
			entities = append(entities, fmt.Sprintf(`{"id": %q, "table": "holding", "address": %d, "type": %q, "order": %q}`, id, at, v.kind, order))
			want[id] = v.want
			at += kinds[v.kind].registers
		}
	}
	return entities, want
}

// The adapter against a server that others made.
func TestSimulator(t *testing.T) {
	for protocol, framing := range map[string]string{"tcp": "tcp", "rtu_over_tcp": "rtu"} {
		t.Run(protocol, func(t *testing.T) {
			t.Parallel()
			s := simulate(t, "0", framing)
			entities, want := typed()
			entities = append(entities,
				`{"id": "sensor.flow", "table": "input", "address": 0, "scale": 0.1}`,
				`{"id": "sensor.broken", "table": "input", "address": 1, "type": "int16", "invalid": [32768]}`,
				`{"id": "sensor.model", "table": "input", "address": 10, "type": "string", "length": 4}`,
				`{"id": "sensor.before", "table": "input", "address": 76}`, `{"id": "sensor.none", "table": "input", "address": 77}`,
				`{"id": "sensor.behind", "table": "input", "address": 78}`,
				`{"id": "binary_sensor.third", "table": "discrete", "address": 3}`, `{"id": "binary_sensor.fourth", "table": "discrete", "address": 4}`,
				`{"id": "binary_sensor.pump", "table": "holding", "address": 1, "bit": 3}`,
				`{"id": "switch.relay", "table": "coil", "address": 4}`, `{"id": "switch.relays", "table": "coil", "address": 5, "write": {"function": 15}}`,
				`{"id": "switch.bit", "table": "holding", "address": 1, "bit": 7}`,
				`{"id": "switch.mask", "table": "holding", "address": 1, "bit": 0, "write": {"function": 22}}`,
				`{"id": "number.target", "table": "holding", "address": 0, "type": "int16", "scale": 0.1, "min": 5, "max": 65}`,
				`{"id": "number.float", "table": "holding", "address": 10, "type": "float32", "order": "CDAB"}`,
				`{"id": "number.nowhere", "table": "input", "address": 0, "write": {"table": "holding", "address": 500}}`,
				`{"id": "select.mode", "table": "holding", "address": 2, "map": {"0": "off", "1": "heating", "2": "cooling"}}`,
				`{"id": "button.reset", "table": "holding", "address": 15, "press_value": 165}`)
			b := run(t, fmt.Sprintf(`{"devices": [{"id": "pump", "address": %q, "protocol": %q, "interval": "100ms", "max_gap": 20, "entities": [%s]}]}`,
				s.address, protocol, strings.Join(entities, ",")), (&net.Dialer{}).DialContext)
			defer b.end()
			maps.Copy(want, map[string]string{
				"sensor.flow": "35.5", "sensor.broken": "unknown", "sensor.model": "SDM630", "sensor.before": "76", "sensor.none": "away", "sensor.behind": "78",
				"binary_sensor.third": "on", "binary_sensor.fourth": "off", "binary_sensor.pump": "on", "switch.relay": "off", "switch.bit": "off",
				"number.target": "45.0", "select.mode": "heating",
			})
			b.shows(want)
			b.commandSimulator(s)
			s.tell("set input 0 360")
			b.shows(map[string]string{"sensor.flow": "36.0"})
			s.kill()
			b.shows(map[string]string{"sensor.flow": "away", "switch.relay": "away"})
			_, port, _ := net.SplitHostPort(s.address)
			simulate(t, port, framing)
			b.shows(map[string]string{"sensor.flow": "35.5", "switch.relay": "off"})
		})
	}
}

// commandSimulator gives one command of each kind, and looks into the simulator.
func (b *bench) commandSimulator(s *simulator) {
	b.t.Helper()
	for _, c := range []struct{ entity, service, data, err, look, want string }{
		{"switch.relay", "turn_on", `{}`, "", "coil 4", "1"},
		{"switch.relays", "turn_on", `{}`, "", "coil 5", "1"},
		{"switch.relays", "turn_off", `{}`, "", "coil 5", "0"},
		{"switch.bit", "turn_on", `{}`, "", "holding 1", "136"},
		{"switch.mask", "turn_on", `{}`, "", "holding 1", "137"},
		{"number.target", "set_value", `{"value": 48.5}`, "", "holding 0", "485"},
		{"number.target", "set_value", `{"value": 4}`, "it can be set to 5 to 65, not to 4", "holding 0", "485"},
		{"number.float", "set_value", `{"value": -0.1}`, "", "holding 11", "48588"}, // bdcccccd
		{"number.nowhere", "set_value", `{"value": 7}`, "writing holding 500: the device refuses it: illegal data address (exception 2)", "holding 0", "485"},
		{"select.mode", "select_option", `{"option": "cooling"}`, "", "holding 2", "2"},
		{"button.reset", "press", `{}`, "", "holding 15", "165"},
	} {
		if got := b.do(c.entity, c.service, c.data); got != c.err {
			b.t.Errorf("%s.%s: got %q, want %q", c.entity, c.service, got, c.err)
		}
		if got := s.tell("get %s", c.look); got != c.want {
			b.t.Errorf("%s.%s: %s is %s, want %s", c.entity, c.service, c.look, got, c.want)
		}
	}
}
