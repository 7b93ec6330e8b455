//go:build unix

package plugins

import (
	"bufio"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	goruntime "runtime"

	"carillon/runtime"
	"carillon/runtime/runtimetest"
)

// runServer runs a host over dir and prints the process number of its adapter,
// for a test that kills it.
func runServer(dir string) {
	rt, err := runtime.Open(context.Background(), &runtimetest.Journal{}, runtime.Options{})
	if err != nil {
		fmt.Println(err)
		return
	}
	h := &Host{Dir: filepath.Join(dir, "plugins"), DataDir: filepath.Join(dir, "data"), Runtime: rt}
	go h.Run(context.Background())
	<-h.Ready()
	for _, s := range h.List() {
		fmt.Println(s.PID)
	}
	select {}
}

// No adapter outlives a server that is killed, nor does what it has started.
func TestNoOrphans(t *testing.T) {
	dir := t.TempDir()
	note := filepath.Join(dir, "child")
	if err := os.Mkdir(filepath.Join(dir, "plugins"), 0o755); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"lamps", "stopped"} {
		text := []byte("#!/bin/sh\nsleep 600 &\necho $! >> " + note + "\n" + strings.TrimPrefix(string(script(t, "version=1")), "#!/bin/sh\n"))
		if err := os.WriteFile(filepath.Join(dir, "plugins", name), text, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	server := exec.Command(self)
	server.Env = append(os.Environ(), "FAKE_SERVER="+dir)
	out, err := server.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := server.Start(); err != nil {
		t.Fatal(err)
	}
	defer server.Wait()
	defer server.Process.Kill()
	lines := bufio.NewScanner(out)
	var pids []int
	for len(pids) < 2 && lines.Scan() {
		pid, err := strconv.Atoi(lines.Text())
		if err != nil || !alive(pid) {
			t.Fatalf("the server says %q, want a living process", lines.Text())
		}
		pids = append(pids, pid)
	}
	if len(pids) != 2 {
		t.Fatal("the server did not start its adapters")
	}
	children, err := os.ReadFile(note)
	if err != nil {
		t.Fatal(err)
	}
	for field := range strings.FieldsSeq(string(children)) {
		pid, err := strconv.Atoi(field)
		if err != nil || !alive(pid) {
			t.Fatalf("child %q: want a living process", field)
		}
		pids = append(pids, pid)
	}
	if len(pids) != 4 {
		t.Fatalf("got %v, want two adapters and a child of each", pids)
	}
	if err := syscall.Kill(pids[1], syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	if err := server.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	deadline := time.Now().Add(time.Second)
	for slices.ContainsFunc(pids, alive) {
		if time.Now().After(deadline) {
			t.Fatalf("adapters %v live a second after their server", pids)
		}
		<-time.After(time.Millisecond)
	}
}

// What an adapter has started ends with it.
func TestGroupEndsWithTheAdapter(t *testing.T) {
	b := newBench(t, nil)
	note := filepath.Join(t.TempDir(), "child")
	b.write("lamps", []byte("#!/bin/sh\nsleep 600 &\necho $! > "+note+"\n"+strings.TrimPrefix(string(script(t, "version=1")), "#!/bin/sh\n")), 0o755)
	b.awaitShown("light.lamp", "off")
	text, err := os.ReadFile(note)
	if err != nil {
		t.Fatal(err)
	}
	child, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil || !alive(child) {
		t.Fatalf("child %q: want a living process", text)
	}
	if err := syscall.Kill(b.awaitState("lamps", Ready).PID, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	b.await("its child is gone", func() bool { return !alive(child) })
}

func TestPin(t *testing.T) {
	good := script(t, "version=1")
	sum := sha256.Sum256(good)
	b := newBench(t, func(b *bench) {
		b.host.Adapters = map[string]AdapterConfig{"lamps": {SHA256: strings.ToUpper(hex.EncodeToString(sum[:]))}}
	}, "lamps", "version=1")
	b.awaitShown("light.lamp", "off")
	pid := b.awaitState("lamps", Ready).PID
	b.put("lamps", "version=2")
	b.await("the other is refused", func() bool { return b.status("lamps").Reason == ReasonSHA256 })
	if got := b.status("lamps"); got.State != Ready || got.PID != pid {
		t.Errorf("got %+v, want the pinned one as it was", got)
	}
}

// What the system doesn't start is told in words about the file, not about its copy.
func TestWhatIsNoProgram(t *testing.T) {
	b := newBench(t, func(b *bench) {
		b.write("text", []byte("echo hello"), 0o755)
		b.write("nothing", []byte("#!/nowhere/at/all\n"), 0o755)
	})
	for name, want := range map[string]string{"text": "begins with #!", "nothing": "names behind #!"} {
		b.await(name+" is named", func() bool { return b.status(name).Reason == ReasonStart })
		if got := b.status(name).Error; !strings.Contains(got, want) || strings.Contains(got, b.host.DataDir) {
			t.Errorf("%s: got %q, want %s and not the copy that is executed", name, got, want)
		}
	}
}

func TestMistakesInTheConfiguration(t *testing.T) {
	b := newBench(t, func(b *bench) {
		b.host.Adapters = map[string]AdapterConfig{
			"pin":     {Path: "lamps", SHA256: "abc"},
			"Capital": {Path: "lamps"},
			"json":    {Path: "lamps", Config: []byte("[]")},
			"env":     {Path: "lamps", Env: []string{"PLUGIN_CLIENT_CERT=x"}},
			"gone":    {Path: "/nowhere/at/all"},
			"plain":   {Path: "plain.txt"},
			"folder":  {Path: b.host.Dir},
			"user":    {Path: "lamps", User: "nobody-of-this-name"},
		}
		b.write("plain.txt", []byte("text"), 0o644)
	}, "lamps", "version=1")
	for name, want := range map[string]string{
		"pin": "64 hexadecimal digits", "Capital": "is no name of an adapter", "json": "config must be a JSON object",
		"env": "can't be set", "gone": "there is no such file", "plain": "chmod +x", "folder": "is a folder", "user": "there is no user",
	} {
		if got := b.awaitState(name, Failed); !strings.Contains(got.Error, want) {
			t.Errorf("%s: got %q, want …%s…", name, got.Error, want)
		}
	}
	<-b.host.Ready()
	if got := b.status("lamps"); got.Name != "" {
		t.Errorf("the file of other adapters is an adapter of its own: %+v", got)
	}
}

func TestMemoryLimit(t *testing.T) {
	if goruntime.GOOS != "linux" {
		t.Skip("memory is bounded on Linux only")
	}
	b := newBench(t, func(b *bench) {
		b.host.Adapters = map[string]AdapterConfig{"lamps": {Memory: 8 << 30}}
	}, "lamps", "version=1")
	st := b.awaitState("lamps", Ready)
	limits, err := os.ReadFile(fmt.Sprintf("/proc/%d/limits", st.PID))
	if err != nil || !strings.Contains(string(limits), "8589934592") {
		t.Errorf("limits: got %s, %v, want 8 GiB of data", limits, err)
	}
}

// Whoever has too little memory to start is told that this may be why.
func TestTooLittleMemory(t *testing.T) {
	if goruntime.GOOS != "linux" {
		t.Skip("only Linux has the bound")
	}
	b := newBench(t, func(b *bench) { b.host.Adapters = map[string]AdapterConfig{"lamps": {Memory: 1 << 20}} }, "lamps", "")
	b.await("it fails", func() bool { return len(b.failures()) > 0 })
	if got := b.status("lamps").Error; !strings.Contains(got, "; it may want more memory than it may have (memory: 1 MiB)") {
		t.Errorf("got %q, want the bound in it", got)
	}
}

// A bound that the system doesn't allow fails the adapter, and leaves nothing behind.
func TestMemoryLimitRefused(t *testing.T) {
	var pid atomic.Int64
	b := newBench(t, func(b *bench) {
		b.host.Adapters = map[string]AdapterConfig{"lamps": {Memory: 8 << 30}}
		b.host.spawner.limit = func(p int, _ int64) error {
			pid.Store(int64(p))
			return errors.New("not for you")
		}
	}, "lamps", "version=1")
	st := b.awaitState("lamps", Failed)
	if want := "bounding its memory: not for you"; st.Error != want || st.Reason != ReasonStart {
		t.Errorf("got %s: %q, want %s: %q", st.Reason, st.Error, ReasonStart, want)
	}
	if alive(int(pid.Load())) {
		t.Errorf("process %d lives on without its bound", pid.Load())
	}
}

func TestOtherUser(t *testing.T) {
	nobody, err := user.Lookup("nobody")
	if os.Getuid() != 0 || err != nil {
		t.Skip("only root can choose the user")
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	b := newBench(t, func(b *bench) {
		defer b.writeSelf(self)
		for dir := b.dir; len(dir) > len(os.TempDir()); dir = filepath.Dir(dir) {
			if err := os.Chmod(dir, 0o755); err != nil {
				t.Fatal(err)
			}
		}
		b.host.Adapters = map[string]AdapterConfig{"lamps": {User: "nobody"}}
	})
	b.awaitShown("light.lamp", "off")
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", b.awaitState("lamps", Ready).PID))
	if err != nil || !strings.Contains(string(status), "Uid:\t"+nobody.Uid) {
		t.Errorf("got %s, %v, want it to be nobody's", status, err)
	}
	groups, err := nobody.GroupIds()
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(status), "\nGroups:")
	line, _, _ := strings.Cut(rest, "\n")
	if got := strings.Fields(line); !slices.Equal(slices.Sorted(slices.Values(got)), slices.Sorted(slices.Values(groups))) {
		t.Errorf("got the groups %v, want nobody's, %v", got, groups)
	}
}

// writeSelf makes an adapter of a copy of the tests' executable, which lies where
// other users can't reach it.
func (b *bench) writeSelf(self string) {
	text, err := os.ReadFile(self)
	if err != nil {
		b.t.Fatal(err)
	}
	own := filepath.Join(b.dir, "self")
	if err := os.WriteFile(own, text, 0o755); err != nil {
		b.t.Fatal(err)
	}
	b.write("lamps", []byte("#!/bin/sh\nFAKE=version=1 exec "+own+"\n"), 0o755)
}
