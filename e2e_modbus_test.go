//go:build unix

package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"carillon/plugins"
)

// A modbusServer is a process of plugins/modbus/testdata/simulator.py.
type modbusServer struct {
	t    *testing.T
	cmd  *exec.Cmd
	in   io.WriteCloser
	out  *bufio.Scanner
	port string
}

// simulateModbus starts one on a port; "0" is any. On CI its absence fails the test.
func simulateModbus(t *testing.T, port string) *modbusServer {
	t.Helper()
	const python = "/usr/bin/python3" // Debian's own, which has its packages
	if out, err := exec.Command(python, "-c", "import pymodbus, serial_asyncio").CombinedOutput(); err != nil {
		if os.Getenv("CI") != "" {
			t.Fatalf("CI must have python3-pymodbus and python3-serial-asyncio: %v\n%s", err, out)
		}
		t.Skip("python3-pymodbus and python3-serial-asyncio are not installed")
	}
	s := &modbusServer{t: t, cmd: exec.Command(python, "plugins/modbus/testdata/simulator.py", port, "tcp")}
	stderr := &lockedBuffer{}
	s.cmd.Stderr = stderr
	var err error
	if s.in, err = s.cmd.StdinPipe(); err != nil {
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
			t.Logf("the simulator said: %.2000s", stderr)
		}
	})
	s.out = bufio.NewScanner(out)
	s.port = s.line()
	return s
}

func (s *modbusServer) kill() {
	s.cmd.Process.Kill()
	s.cmd.Wait()
}

func (s *modbusServer) line() string {
	s.t.Helper()
	if !s.out.Scan() {
		s.t.Fatalf("the simulator ended: %v", s.out.Err())
	}
	return s.out.Text()
}

// tell has it do something and returns what it prints.
func (s *modbusServer) tell(what string) string {
	s.t.Helper()
	fmt.Fprintln(s.in, what)
	return s.line()
}

const modbusHome = `plugins:
  modbus:
    config:
      interval: 100ms
      devices:
        - id: boiler
          name: Boiler
          address: 127.0.0.1:%[1]s
          timeout: 2s
          entities:
            - {id: sensor.flow, name: Flow, table: input, address: 0, type: int16, scale: 0.1, unit: °C, device_class: temperature}
            - {id: sensor.broken, table: input, address: 1, type: int16, invalid: [0x8000]}
            - {id: number.target, table: holding, address: 0, scale: 0.1, min: 5, max: 65}
            - {id: select.mode, table: holding, address: 2, map: {0: off, 1: heating, 0x2: cooling}}
            - {id: switch.pump, table: coil, address: 3}
            - {id: button.reset, table: holding, address: 15, press_value: 0xa5}
            - {id: sensor.taken, table: input, address: 0}
        - {id: copy, address: "127.0.0.1:%[1]s", entities: [{id: sensor.also_taken, table: input, address: 0}]}
`

func TestModbusEndToEnd(t *testing.T) {
	program := filepath.Join(t.TempDir(), "modbus")
	build(t, ".", program, "./plugins/modbus")
	s := simulateModbus(t, "0")
	home := newHome(t, map[string]string{"taken.js": "device('sensor.taken').set('mine'); device('sensor.also_taken');"})
	write(t, filepath.Join(home, configFile), fmt.Sprintf(modbusHome, s.port))
	in := serve(t, home, "-listen", "127.0.0.1:0")
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	frames := in.stream(ctx, "/api/stream")
	in.install(program, "modbus")

	refused := func(id string) func(frame) bool {
		return func(f frame) bool {
			return f.Type == "adapter_log" && strings.Contains(f.raw, "the entity is refused") && strings.Contains(f.raw, id)
		}
	}
	first := awaitAll(t, frames, "the flow temperature and that two entities are a script's", became("sensor.flow", is("35.5")), refused("sensor.taken"), refused("sensor.also_taken"))
	next := first[0].Data["new_state"].(map[string]any)
	if got := next["attributes"].(map[string]any); got["unit_of_measurement"] != "°C" || got["friendly_name"] != "Flow" || got["device_class"] != "temperature" {
		t.Errorf("attributes: got %v, want those of the configuration", got)
	}
	eventually(t, "all entities are there", func() bool {
		return in.state("sensor.broken") == "unknown" && in.state("number.target") == "45.0" && in.state("select.mode") == "heating" && in.state("switch.pump") == "off"
	})
	eventually(t, "it is ready", func() bool { return in.plugin("modbus").State == plugins.Ready })
	in.commandModbus(s)
	if got := in.state("sensor.taken"); got != "mine" {
		t.Errorf("an entity that is a script's: got %s, want what the script says", got)
	}

	in.overrideModbus()
	in.configureModbus(frames, s)
	s.tell("set input 0 401")
	await(t, frames, "the change", became("sensor.flow", is("40.1")))
	s.kill()
	await(t, frames, "that the boiler is away", became("sensor.flow", is("unavailable")))
	if status, text := in.request("POST", "/api/services/switch/turn_on", `{"entity_id":"switch.pump"}`); status/100 == 2 || !strings.Contains(text, "writing coil 3: connecting") {
		t.Errorf("a command to a boiler that is away: got %d %s, want an error", status, text)
	}
	simulateModbus(t, s.port)
	await(t, frames, "that the boiler is back", became("sensor.flow", is("35.5")))
	eventually(t, "all of it is back", func() bool { return in.state("switch.pump") == "off" && in.state("sensor.broken") == "unknown" })
}

// commandModbus gives commands over REST, and looks into the simulator.
func (in *instance) commandModbus(s *modbusServer) {
	in.t.Helper()
	for _, c := range []struct{ service, body, entity, state, look, want string }{
		{"switch/turn_on", `{"entity_id":"switch.pump"}`, "switch.pump", "on", "get coil 3", "1"},
		{"number/set_value", `{"entity_id":"number.target","value":48.5}`, "number.target", "48.5", "get holding 0", "485"},
		{"select/select_option", `{"entity_id":"select.mode","option":"cooling"}`, "select.mode", "cooling", "get holding 2", "2"},
		{"button/press", `{"entity_id":"button.reset"}`, "", "", "get holding 15", "165"},
	} {
		got := in.do("POST", "/api/services/"+c.service, c.body)
		if !strings.Contains(got, `"state":"`+c.state) {
			in.t.Errorf("%s: got %s, want %s %s", c.service, got, c.entity, c.state)
		}
		if got := s.tell(c.look); got != c.want {
			in.t.Errorf("%s: the simulator has %s, want %s", c.service, got, c.want)
		}
		if c.entity != "" && in.state(c.entity) != c.state {
			in.t.Errorf("%s: %s is %s, want %s", c.service, c.entity, in.state(c.entity), c.state)
		}
	}
	status, text := in.request("POST", "/api/services/number/set_value", `{"entity_id":"number.target","value":90}`)
	if status != 400 || !strings.Contains(text, "number.target: it can be set to 5 to 65, not to 90") {
		in.t.Errorf("a value beyond: got %d %s, want 400 and the limits", status, text)
	}
}

// overrideModbus sets a state and removes an entity by REST: the next read, which finds what it found before, shows
// both as they are.
func (in *instance) overrideModbus() {
	in.t.Helper()
	if status, text := in.request("POST", "/api/states/sensor.flow", `{"state":"99"}`); status != 200 {
		in.t.Errorf("setting a state: got %d %s", status, text)
	}
	eventually(in.t, "the sensor shows what was read", func() bool {
		_, text := in.request("GET", "/api/states/sensor.flow", "")
		return strings.Contains(text, `"state":"35.5"`) && strings.Contains(text, `"friendly_name":"Flow"`)
	})
	if status, text := in.request("DELETE", "/api/states/switch.pump", ""); status != 200 {
		in.t.Errorf("removing an entity: got %d %s", status, text)
	}
	eventually(in.t, "the switch is there again", func() bool {
		_, text := in.request("GET", "/api/states/switch.pump", "")
		return strings.Contains(text, `"friendly_name":"Pump"`)
	})
}

// configureModbus makes a mistake in the configuration, and then changes it: the new process takes over the device,
// and nobody sees it away.
func (in *instance) configureModbus(frames <-chan frame, s *modbusServer) {
	in.t.Helper()
	text := fmt.Sprintf(modbusHome, s.port)
	write(in.t, filepath.Join(in.home, configFile), strings.Replace(text, "address: 15", "address: 70000", 1))
	failed := await(in.t, frames, "that the configuration is refused", func(f frame) bool { return f.Type == "adapter_failed" })
	if want := "carillon.yaml:16: /devices/0/entities/5/address: must be from 0 to 65535, and is 70000"; failed.Data["kept"] != true || !strings.Contains(failed.raw, want) {
		in.t.Errorf("got %s, want %s, and that the adapter is kept", failed.raw, want)
	}
	write(in.t, filepath.Join(in.home, configFile), strings.Replace(text, "interval: 100ms", "interval: 120ms", 1))
	await(in.t, frames, "the new configuration", func(f frame) bool {
		if became("sensor.flow", is("unavailable"))(f) || became("switch.pump", is("unavailable"))(f) {
			in.t.Errorf("the boiler went away while the adapter was configured: %s", f.raw)
		}
		return f.Type == "adapter_started" && f.Data["swapped"] == true
	})
}

// What the adapter's documentation shows can be loaded as it is.
func TestModbusExampleLoads(t *testing.T) {
	text, err := os.ReadFile("plugins/modbus/README.md")
	if err != nil {
		t.Fatal(err)
	}
	m := regexp.MustCompile("(?s)```yaml\n(.*?)```").FindSubmatch(text)
	if m == nil {
		t.Fatal("the documentation has no example")
	}
	nobody := regexp.MustCompile(`192\.168\.[0-9.]+:[0-9]+`).ReplaceAllStringFunc(string(m[1]), func(address string) string {
		return "127.0.0.1:" + map[string]string{"50": "1", "60": "2", "70": "3"}[address[len("192.168.1."):len("192.168.1.")+2]]
	})
	program := filepath.Join(t.TempDir(), "modbus")
	build(t, ".", program, "./plugins/modbus")
	home := newHome(t, nil)
	write(t, filepath.Join(home, configFile), nobody)
	in := serve(t, home, "-listen", "127.0.0.1:0")
	in.install(program, "modbus")
	want := strings.Count(nobody, "- {id: ")
	eventually(t, "its entities are there", func() bool { return in.plugin("modbus").Entities == want })
	if st := in.plugin("modbus"); st.Error != "" && !strings.Contains(st.Error, "connecting") {
		t.Errorf("got %+v, want no error but that nobody answers", st)
	}
	eventually(t, "they are unavailable", func() bool {
		return in.state("sensor.hot_water") == "unavailable" && in.state("switch.valve") == "unavailable"
	})
}
