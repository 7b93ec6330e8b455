package worker

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"carillon/scripts/filter"
)

// workersOf returns the processes that a process has started and that run.
func workersOf(t testing.TB, parent int) (pids []int) {
	t.Helper()
	stats, _ := filepath.Glob("/proc/[0-9]*/stat")
	for _, name := range stats {
		text, err := os.ReadFile(name)
		if err != nil {
			continue // it ended
		}
		_, rest, _ := strings.Cut(string(text), ") ")
		fields := strings.Fields(rest)
		if len(fields) > 1 && fields[0] != "Z" && fields[1] == strconv.Itoa(parent) {
			pid, _ := strconv.Atoi(filepath.Base(filepath.Dir(name)))
			pids = append(pids, pid)
		}
	}
	return pids
}

// holdWorkers is the process of TestNoOrphans: it starts workers, one of which
// hangs and one of which is idle, says so, and waits to be killed.
func holdWorkers() {
	self, _ := os.Executable()
	p := NewPool(Options{Command: []string{self, "filter-worker"}, Deadline: time.Hour, Memory: 400 << 20})
	ctx := context.Background()
	if _, err := p.Compile(ctx, "idle", "f", "e => true", nil); err != nil {
		fmt.Println(err)
		return
	}
	f, err := p.Compile(ctx, "busy", "f", "e => { for (;;); }", nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println("ready")
	p.Decide(ctx, "busy", lights(1), []*Filter{f}, nil, func(int, int, filter.Outcome) {})
}

func TestNoOrphans(t *testing.T) {
	cmd := exec.Command(os.Args[0], "hold-workers")
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer cmd.Wait()
	defer cmd.Process.Kill()
	line, err := bufio.NewReader(out).ReadString('\n')
	if line != "ready\n" {
		t.Fatalf("got %q, %v, want two workers", line, err)
	}
	workers := workersOf(t, cmd.Process.Pid)
	if len(workers) != 2 {
		t.Fatalf("got workers %v, want two", workers)
	}
	cmd.Process.Kill()
	eventually(t, "the workers end with their parent", func() bool {
		for _, pid := range workers {
			if text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid)); err == nil && !strings.Contains(string(text), ") Z") {
				return false
			}
		}
		return true
	})
}

// TestTheKernelEndsWorkers looks at how a worker is started: beside the end of
// its input, which it sees itself, the kernel ends it with this process.
func TestTheKernelEndsWorkers(t *testing.T) {
	cmd := exec.Command("worker")
	prepare(cmd)
	if got := cmd.SysProcAttr.Pdeathsig; got != syscall.SIGKILL || !cmd.SysProcAttr.Setpgid {
		t.Errorf("got the signal %v and a group of its own %v, want %v and true", got, cmd.SysProcAttr.Setpgid, syscall.SIGKILL)
	}
}

// TestWhatTheKernelRefuses looks at a worker from outside.
func TestWhatTheKernelRefuses(t *testing.T) {
	t.Setenv("CARILLON_SECRET", "tell nobody")
	p := newTestPool(t, Options{})
	compileAll(t, p, "operator", "e => true")
	pid := p.lanes["operator"].proc.cmd.Process.Pid
	read := func(name string) string {
		text, err := os.ReadFile(fmt.Sprintf("/proc/%d/%s", pid, name))
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	if got := read("environ"); got != "" {
		t.Errorf("environment: got %q, want none", got)
	}
	limits := map[string]string{}
	for line := range strings.Lines(read("limits")) {
		if len(line) > 50 {
			limits[strings.TrimSpace(line[:26])] = strings.Fields(line[26:])[1] // the hard one
		}
	}
	for name, want := range map[string]string{"Max open files": "0", "Max core file size": "0", "Max file size": "0"} {
		if limits[name] != want {
			t.Errorf("%s: got %q, want %s", name, limits[name], want)
		}
	}
	data, err := strconv.ParseInt(limits["Max data size"], 10, 64)
	if err != nil || data < p.o.Memory || data > p.o.Memory+100<<20 && !raceEnabled {
		t.Errorf("Max data size: got %s, %v, want %d and what the process began with", limits["Max data size"], err, p.o.Memory)
	}
	fds, _ := filepath.Glob(fmt.Sprintf("/proc/%d/fd/*", pid))
	for _, fd := range fds {
		target, err := os.Readlink(fd)
		if err == nil && !strings.HasPrefix(target, "pipe:") && !strings.HasPrefix(target, "anon_inode:") &&
			!strings.HasPrefix(target, "/memfd:carillon") && !strings.HasPrefix(target, "/sys/fs/cgroup/") && target != "/dev/null" {
			t.Errorf("descriptor %s: got %s, want pipes, the page and what polls", filepath.Base(fd), target)
		}
	}
}

// TestKilledAtRandom kills the process again and again while it decides. That
// is no filter's doing: each decision is made, once and in order.
func TestKilledAtRandom(t *testing.T) {
	p := newTestPool(t, Options{})
	filters := compileAll(t, p, "operator", "e => e.seq % 2", "e => ({a: e.seq})")
	l := p.lanes["operator"]
	kills := 0
	for range 6 {
		next := 0
		err := p.Decide(context.Background(), "operator", lights(2000), filters, nil, func(f, e int, o filter.Outcome) {
			if place := e*2 + f; place < next {
				t.Fatalf("event %d, filter %d came again", e, f)
			} else {
				next = place + 1
			}
			if f == 1 && string(o.Data) != fmt.Sprintf(`{"a":%d}`, e+1) || f == 0 && (e%2 != 0 || !o.Match) {
				t.Fatalf("event %d, filter %d: got %v", e, f, o)
			}
			if f == 1 && e == 100*(kills+1) {
				l.proc.cmd.Process.Signal(syscall.SIGKILL)
				kills++
			}
		})
		if err != nil {
			t.Fatal(err)
		}
		if next != 4000 {
			t.Errorf("got decisions up to %d, want 4000", next)
		}
	}
	if s := p.Stats(); kills < 5 || s.Started < 5 || s.Quarantines != 0 {
		t.Errorf("got %d kills and %+v, want new processes and no quarantine", kills, s)
	}
}

// TestAStoppedProcess has the system stop the worker, which then uses no
// processor time: it is replaced.
func TestAStoppedProcess(t *testing.T) {
	p := newTestPool(t, Options{})
	p.stuck = 300 * time.Millisecond
	filters := compileAll(t, p, "operator", "e => true")
	p.lanes["operator"].proc.cmd.Process.Signal(syscall.SIGSTOP)
	began := time.Now()
	if got := answers(t, p, "operator", lights(2), filters, nil); len(got) != 2 {
		t.Errorf("got %v, want two matches", got)
	}
	if took := time.Since(began); took > slowMachine*p.stuck {
		t.Errorf("it took %v, want some %v", took, p.stuck)
	}
}
