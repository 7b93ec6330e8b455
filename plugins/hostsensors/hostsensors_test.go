package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	goruntime "runtime"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"github.com/shirou/gopsutil/v4/cpu"
	"github.com/shirou/gopsutil/v4/disk"
	"github.com/shirou/gopsutil/v4/net"

	"carillon/plugins/adapter"
	"carillon/runtime/runtimetest"
)

func TestContract(t *testing.T) {
	runtimetest.TestAdapter(t, runtimetest.AdapterTest{
		New:    func() adapter.Adapter { return newMachine() },
		Config: `{"interval": "500ms", "include": ["cpu", "memory", "disks"], "prefix": "test"}`,
		Wrong: map[string]string{
			`{"interval": "10 bananas"}`:           "/interval",
			`{"interval": "1ms"}`:                  "/interval",
			`{"interval": "25h"}`:                  "/interval",
			`{"interval": 5}`:                      "/interval",
			`{"include": ["cpu", "teapots"]}`:      "/include/1",
			`{"prefix": "My Machine"}`:             "/prefix",
			`{"prefix": ""}`:                       "/prefix",
			`{"disks": ["/", "/media/["]}`:         "/disks/1",
			`{"interfaces": [""]}`:                 "/interfaces/0",
			`{"name": "` + long(101) + `"}`:        "/name",
			`{"prefix": "` + long(65) + `"}`:       "/prefix",
			`{"colour": "red"}`:                    "/colour",
			`{"interval": "1ms", "prefix": "_no"}`: "/prefix",
		},
		Entities: 5,
	})
}

func long(n int) string { return strings.Repeat("x", n) }

// Who leaves the unit out is told what is missing.
func TestIntervalWithoutUnit(t *testing.T) {
	const want = "/interval: must be a duration with its unit, such as 10s"
	if _, err := readSettings(adapter.Config{JSON: json.RawMessage(`{"interval": 5}`)}); err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
}

// The schema and what is read of the configuration must name the same things.
func TestSchema(t *testing.T) {
	var s struct {
		Properties map[string]struct {
			Items struct{ Enum []string }
		}
	}
	if err := json.Unmarshal([]byte(schema), &s); err != nil {
		t.Fatal(err)
	}
	fields := reflect.TypeFor[settings]()
	count := 0
	for i := range fields.NumField() {
		name := fields.Field(i).Tag.Get("json")
		if name == "" {
			continue
		}
		count++
		if _, ok := s.Properties[name]; !ok {
			t.Errorf("%s is not in the schema", name)
		}
	}
	if len(s.Properties) != count {
		t.Errorf("the schema has %d properties, the settings %d", len(s.Properties), count)
	}
	if got := s.Properties["include"].Items.Enum; !slices.Equal(got, kinds) {
		t.Errorf("include in the schema: got %v, want %v", got, kinds)
	}
}

// rounds configures a machine and reads it twice, so that rates are known.
func rounds(t *testing.T, config string) map[string]reading {
	t.Helper()
	m := newMachine()
	if err := m.Configure(t.Context(), adapter.Config{JSON: json.RawMessage(config)}); err != nil {
		t.Fatal(err)
	}
	var all []reading
	for range 2 {
		var troubles map[string]error
		all, troubles = m.round(t.Context())
		for kind, err := range troubles {
			if err != nil && kind != "temperatures" {
				t.Errorf("reading %s: %v", kind, err)
			}
		}
		for range 200_000 { // so that the CPU has something to count
			_ = strconv.Itoa(os.Getpid())
		}
	}
	byID, taken := map[string]reading{}, map[string]bool{}
	for _, r := range all {
		id := r.unique(m.settings.Prefix, taken)
		taken[id] = true
		byID[id] = r
	}
	return byID
}

func value(t *testing.T, all map[string]reading, id string) float64 {
	t.Helper()
	r, ok := all[id]
	if !ok {
		t.Errorf("there is no %s", id)
		return -1
	}
	x, err := strconv.ParseFloat(r.value, 64)
	if err != nil {
		t.Errorf("%s is %q, which is no number", id, r.value)
	}
	return x
}

func TestThisMachine(t *testing.T) {
	all := rounds(t, `{}`)
	if x := value(t, all, "sensor.machine_memory_use"); x <= 0 || x >= 100 {
		t.Errorf("memory use: got %v %%, want between 0 and 100", x)
	}
	if load := all["sensor.machine_load"]; load.attributes["five_minutes"] == nil {
		t.Errorf("load: got attributes %v, want five_minutes", load.attributes)
	}
	if !regexp.MustCompile(`^20\d\d-\d\d-\d\dT[\d:]+Z$`).MatchString(all["sensor.machine_last_boot"].value) {
		t.Errorf("last boot: got %q, want a time", all["sensor.machine_last_boot"].value)
	}
	if goruntime.GOOS != "linux" {
		return
	}
	if x, want := value(t, all, "sensor.machine_memory_available"), meminfo(t, "MemAvailable"); x < want*0.5 || x > want*1.5 {
		t.Errorf("memory available: got %v MiB, the kernel says %v", x, want)
	}
	if x := value(t, all, "sensor.machine_disk_root_free"); x <= 0 {
		t.Errorf("free on /: got %v GiB", x)
	}
	for id, r := range all {
		if r.deviceClass == "data_rate" && r.value == "" {
			t.Errorf("%s has no value in the second round", id)
		}
		if strings.Contains(id, "network_lo_") {
			t.Errorf("%s: loopback was not asked for", id)
		}
	}
}

// meminfo returns a line of /proc/meminfo in MiB.
func meminfo(t *testing.T, name string) float64 {
	text, err := os.ReadFile("/proc/meminfo")
	if err != nil {
		t.Fatal(err)
	}
	m := regexp.MustCompile(`(?m)^` + name + `:\s+(\d+) kB`).FindSubmatch(text)
	if m == nil {
		t.Fatalf("/proc/meminfo has no %s", name)
	}
	kib, _ := strconv.ParseFloat(string(m[1]), 64)
	return kib / 1024
}

func TestInclude(t *testing.T) {
	for config, want := range map[string]string{
		`{"include": ["memory"], "prefix": "nas"}`:         `^sensor\.nas_(memory|swap)_`,
		`{"include": ["network"], "interfaces": ["lo*"]}`:  `^sensor\.machine_network_lo`,
		`{"include": ["disks"], "disks": ["/"]}`:           `^sensor\.machine_disk_root_`,
		`{"include": ["cpu"]}`:                             `^sensor\.machine_(cpu_use|load|last_boot)$`,
		`{"include": ["temperatures"]}`:                    `^sensor\.machine_temperature_`,
		`{"include": ["memory", "cpu"], "prefix": "a_b1"}`: `^sensor\.a_b1_(memory|swap|cpu_use|load|last_boot)`,
	} {
		m := newMachine()
		if err := m.Configure(t.Context(), adapter.Config{JSON: json.RawMessage(config)}); err != nil {
			t.Errorf("%s: %v", config, err)
			continue
		}
		m.keepIncluded()
		all, _ := m.round(t.Context())
		for i := range all {
			if id := all[i].unique(m.settings.Prefix, nil); !regexp.MustCompile(want).MatchString(id) {
				t.Errorf("%s: got %s, want only %s", config, id, want)
			}
		}
		if len(all) == 0 && goruntime.GOOS == "linux" && !strings.Contains(config, "temperatures") {
			t.Errorf("%s: nothing was read", config)
		}
	}
}

// sysFiles are laid out as Linux 6.1 has them on a laptop with a mouse.
var sysFiles = map[string]string{
	"class/power_supply/AC/type":                           "Mains",
	"class/power_supply/BAT0/type":                         "Battery",
	"class/power_supply/BAT0/capacity":                     "87",
	"class/power_supply/BAT0/status":                       "Charging",
	"class/power_supply/BAT0/manufacturer":                 "SMP",
	"class/power_supply/BAT0/cycle_count":                  "312",
	"class/power_supply/hidpp_battery_0/type":              "Battery",
	"class/power_supply/hidpp_battery_0/status":            "Unknown",
	"class/power_supply/hidpp_battery_0/charge_now":        "250000",
	"class/power_supply/hidpp_battery_0/charge_full":       "1000000",
	"class/power_supply/hidpp_battery_0/scope":             "Device",
	"class/power_supply/hidpp_battery_0/model_name":        "Wireless Mouse MX",
	"class/hwmon/hwmon0/name":                              "coretemp",
	"class/hwmon/hwmon0/temp1_input":                       "48500",
	"class/hwmon/hwmon0/temp1_label":                       "Package id 0",
	"class/hwmon/hwmon0/temp1_crit":                        "100000",
	"class/hwmon/hwmon0/temp2_input":                       "-128000",
	"class/hwmon/hwmon1/name":                              "nvme",
	"class/hwmon/hwmon1/temp1_input":                       "31850",
	"class/hwmon/hwmon2/name":                              "nvme",
	"class/hwmon/hwmon2/temp1_input":                       "33000",
	"class/power_supply/BAT1/type":                         "Battery",
	"class/power_supply/BAT1/status":                       "Not charging",
	"class/power_supply/BAT1/present":                      "1",
	"class/power_supply/hidpp_battery_0/capacity_level":    "Low",
	"class/power_supply/hidpp_battery_0/online":            "1",
	"class/power_supply/hidpp_battery_0/voltage_now":       "3900000",
	"class/power_supply/hidpp_battery_0/not/a/property":    "x",
	"class/power_supply/ucsi-source-psy-USBC000:001/type":  "USB",
	"class/power_supply/ucsi-source-psy-USBC000:001/scope": "System",
}

func TestLinuxBatteriesAndTemperatures(t *testing.T) {
	if goruntime.GOOS != "linux" {
		t.Skip("only Linux has these files")
	}
	sys := t.TempDir()
	t.Setenv("HOST_SYS", sys)
	for name, text := range sysFiles {
		file := filepath.Join(sys, name)
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(text+"\n"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	all := rounds(t, `{"include": ["batteries", "temperatures"], "prefix": "m"}`)
	got := map[string]string{}
	for id, r := range all {
		if strings.Contains(id, "_battery_") || strings.Contains(id, "_temperature_") {
			got[id] = strings.Join([]string{r.value, r.unit, r.deviceClass, r.stateClass}, " ")
		}
	}
	want := map[string]string{
		"sensor.m_battery_0":                               "87 % battery measurement",
		"binary_sensor.m_battery_0_charging":               "on  battery_charging ",
		"binary_sensor.m_battery_1_charging":               "off  battery_charging ",
		"sensor.m_battery_hidpp_battery_0":                 "25 % battery measurement",
		"binary_sensor.m_battery_hidpp_battery_0_charging": "unknown  battery_charging ",
		"sensor.m_temperature_coretemp_package_id_0":       "48.5 °C temperature measurement",
		"sensor.m_temperature_nvme":                        "31.9 °C temperature measurement",
		"sensor.m_temperature_nvme_2":                      "33.0 °C temperature measurement",
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got  %q\nwant %q", got, want)
	}
	if got := fmt.Sprint(all["sensor.m_battery_0"].attributes); got != "map[cycles:312 manufacturer:SMP]" {
		t.Errorf("attributes of the battery: got %s", got)
	}
	if got := fmt.Sprint(all["sensor.m_temperature_coretemp_package_id_0"].attributes); got != "map[critical:100]" {
		t.Errorf("attributes of the temperature: got %s", got)
	}
}

// What hangs is left out until it answers, and keeps nothing else waiting for
// longer than its patience.
func TestHangingSource(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hang := make(chan struct{})
		var calls atomic.Int32
		m := newMachine()
		m.sources = []*source{
			{kind: "disks", read: func(context.Context, *settings) ([]reading, error) {
				calls.Add(1)
				<-hang
				return []reading{{object: "disk"}}, nil
			}},
			{kind: "cpu", read: func(context.Context, *settings) ([]reading, error) { return []reading{{object: "cpu"}}, nil }},
		}
		for range 3 {
			all, troubles := m.round(t.Context())
			if len(all) != 1 || all[0].object != "cpu" || all[0].kind != "cpu" || troubles["disks"] != errLate || troubles["cpu"] != nil {
				t.Errorf("while it hangs: got %v, %v, want the CPU, and that the disks are late", all, troubles)
			}
		}
		if got := calls.Load(); got != 1 {
			t.Errorf("what hangs was asked %d times, want once", got)
		}
		close(hang)
		synctest.Wait()
		if all, troubles := m.round(t.Context()); len(all) != 2 || troubles["disks"] != nil {
			t.Errorf("afterwards: got %v, %v, want both", all, troubles)
		}
	})
}

func TestBusyShare(t *testing.T) {
	before := &cpu.TimesStat{User: 10, System: 5, Idle: 85, Guest: 9}
	for _, test := range []struct {
		before *cpu.TimesStat
		now    cpu.TimesStat
		want   string
	}{
		{nil, *before, ""},
		{before, *before, ""},
		{before, cpu.TimesStat{User: 11, System: 5, Idle: 88, Guest: 10}, "25.0"},
		{before, cpu.TimesStat{User: 10, System: 5, Idle: 86, Iowait: 1}, "0.0"},
		{before, cpu.TimesStat{User: 12, System: 6, Idle: 85, Steal: 1}, "100.0"},
	} {
		if got := busyShare(test.before, &test.now); got != test.want {
			t.Errorf("%+v: got %q, want %q", test.now, got, test.want)
		}
	}
}

func TestRate(t *testing.T) {
	for _, test := range []struct {
		before, after uint64
		want          string
	}{{0, 3000, "1.500"}, {3000, 3000, "0.000"}, {3000, 10, ""}} {
		if got := rate(test.before, test.after, 2e9); got != test.want {
			t.Errorf("%d to %d in 2 s: got %q, want %q", test.before, test.after, got, test.want)
		}
	}
}

func TestChosenDisks(t *testing.T) {
	mounted := []disk.PartitionStat{
		{Device: "/dev/sda1", Mountpoint: "/etc/hosts", Fstype: "ext4"},
		{Device: "/dev/sda1", Mountpoint: "/", Fstype: "ext4"},
		{Device: "/dev/loop3", Mountpoint: "/snap/core/1", Fstype: "squashfs"},
		{Device: "/dev/sdb1", Mountpoint: "/media/usb", Fstype: "vfat"},
	}
	for _, test := range []struct{ patterns, want []string }{
		{nil, []string{"/", "/media/usb"}},
		{[]string{"/media/*"}, []string{"/media/usb"}},
		{[]string{"/snap/*/*", "/"}, []string{"/", "/snap/core/1"}},
		{[]string{}, nil},
	} {
		var got []string
		for _, p := range chosenDisks(mounted, test.patterns) {
			got = append(got, p.Mountpoint)
		}
		if !slices.Equal(got, test.want) {
			t.Errorf("%v: got %v, want %v", test.patterns, got, test.want)
		}
	}
}

func TestChosenInterface(t *testing.T) {
	interfaces := net.InterfaceStatList{
		{Name: "lo", Flags: []string{"up", "loopback"}}, {Name: "eth0", Flags: []string{"up", "broadcast"}}, {Name: "wlan0", Flags: []string{"broadcast"}},
	}
	for name, want := range map[string]bool{"lo": false, "eth0": true, "wlan0": false, "gone0": false} {
		if got := chosenInterface(name, nil, interfaces); got != want {
			t.Errorf("%s by default: got %v, want %v", name, got, want)
		}
	}
	if !chosenInterface("wlan0", []string{"wlan*"}, interfaces) || chosenInterface("eth0", []string{"wlan*"}, interfaces) {
		t.Error("wlan*: want wlan0 and not eth0")
	}
}

// What is named and not there is told; what a pattern stands for may come later.
func TestMissing(t *testing.T) {
	m := newMachine()
	config := `{"include": ["disks", "network"], "disks": ["/nonexist", "/nonexist/*"], "interfaces": ["nonexist0", "nonexist*"]}`
	if err := m.Configure(t.Context(), adapter.Config{JSON: json.RawMessage(config)}); err != nil {
		t.Fatal(err)
	}
	m.keepIncluded()
	_, troubles := m.round(t.Context())
	for kind, want := range map[string]string{"disks": "nothing is mounted at /nonexist: disks names mount points", "network": "there is no interface nonexist0: interfaces names what is not there"} {
		if err := troubles[kind]; err == nil || !strings.HasSuffix(err.Error(), want) {
			t.Errorf("%s: got %v, want %q", kind, err, want)
		}
	}
	if got := missing([]string{"a", "b"}, []string{"b"}, func(s string) string { return s }); !slices.Equal(got, []string{"a"}) {
		t.Errorf("got %q, want a alone", got)
	}
}

// A disk that hangs is left out, named, and asked once; the others are read.
func TestDiskThatHangs(t *testing.T) {
	if goruntime.GOOS != "linux" {
		t.Skip("/ and /proc are mounted everywhere on Linux only")
	}
	synctest.Test(t, func(t *testing.T) {
		var asked atomic.Int64
		answer := make(chan struct{})
		d := &disks{usage: func(_ context.Context, path string) (*disk.UsageStat, error) {
			if path == "/proc" {
				asked.Add(1)
				<-answer
			}
			return &disk.UsageStat{Total: gib, Free: gib}, nil
		}}
		read := func() (n int, err error) {
			all, err := d.read(t.Context(), &settings{Disks: []string{"/", "/proc"}})
			return len(all), err
		}
		for range 2 {
			if n, err := read(); n != 2 || err == nil || err.Error() != "/proc: it has not answered for 4s" {
				t.Errorf("got %d readings, %v, want the two of / and that /proc is late", n, err)
			}
		}
		if n := asked.Load(); n != 1 {
			t.Errorf("it was asked %d times, want once", n)
		}
		close(answer)
		synctest.Wait()
		if n, err := read(); n != 4 || err != nil {
			t.Errorf("when it answers: got %d readings, %v, want four", n, err)
		}
	})
}

func TestSlug(t *testing.T) {
	for text, want := range map[string]string{
		"disk_/media/My Stick": "disk_media_my_stick", `disk_C:`: "disk_c", "ÄÖ": "unnamed", "": "unnamed",
		"a--b__c": "a_b_c", strings.Repeat("ab", 80): strings.Repeat("ab", 50),
	} {
		if got := slug(text); got != want {
			t.Errorf("%q: got %q, want %q", text, got, want)
		}
	}
}
