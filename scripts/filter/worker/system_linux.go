package worker

import (
	"bytes"
	"os"
	"os/exec"
	"strconv"
	"sync/atomic"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// executable is the program that runs, even if its file was replaced since.
func executable() (string, error) { return "/proc/self/exe", nil }

// prepare has the kernel kill the worker when the thread that starts it ends:
// see Pool.spawner. The worker is no member of our process group, so that a ^C
// reaches it through us only.
func prepare(cmd *exec.Cmd) {
	cmd.Dir = "/"
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setpgid: true}
}

// A sharedPage is memory that the worker has too: it is told there which filter
// runs.
type sharedPage struct {
	file *os.File
	mem  []byte
}

const pageSize = 4096

// processors is how many a worker may use at a time. One is enough where the
// reader of the pipe needs none to wait: see polled.
const processors = 1

func newSharedPage() *sharedPage {
	fd, err := unix.MemfdCreate("carillon-filter-worker", unix.MFD_CLOEXEC)
	if err != nil {
		return nil
	}
	file := os.NewFile(uintptr(fd), "page")
	if err := file.Truncate(pageSize); err == nil {
		if mem, err := unix.Mmap(fd, 0, pageSize, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED); err == nil {
			return &sharedPage{file, mem}
		}
	}
	file.Close()
	return nil
}

// pass gives the page to a process that is not started yet.
func (p *sharedPage) pass(cmd *exec.Cmd) { cmd.ExtraFiles = []*os.File{p.file} }

func (p *sharedPage) word() *atomic.Uint64 { return (*atomic.Uint64)(unsafe.Pointer(&p.mem[0])) }

func (p *sharedPage) close() {
	unix.Munmap(p.mem)
	p.file.Close()
}

// openPage returns the word on the page that the worker was started with, nil
// if it can't be had.
func openPage() *atomic.Uint64 {
	mem, err := unix.Mmap(3, 0, pageSize, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		return nil
	}
	return (*atomic.Uint64)(unsafe.Pointer(&mem[0]))
}

// processorTime is what a process has had of the processors: a clock of its own
// (clock_getcpuclockid(3)).
func processorTime(pid int) (time.Duration, bool) {
	var t unix.Timespec
	const schedClock = 2
	if unix.ClockGettime(int32(^pid<<3|schedClock), &t) != nil {
		return 0, false
	}
	return time.Duration(t.Nano()), true
}

// polled returns a pipe that waits without keeping a thread.
func polled[T any](pipe T) T {
	file, ok := any(pipe).(*os.File)
	if !ok {
		return pipe
	}
	fd := file.Fd()
	if unix.SetNonblock(int(fd), true) != nil {
		return pipe
	}
	return any(os.NewFile(fd, file.Name())).(T)
}

// restrict leaves the worker no descriptor to open, so neither file nor
// socket, and memory bytes more than it has now. That counts mappings, not what
// is in use: RLIMIT_AS would count what Go only reserves.
func restrict(memory int64) {
	limit := func(which int, n uint64) error {
		return unix.Setrlimit(which, &unix.Rlimit{Cur: n, Max: n})
	}
	text, err := os.ReadFile("/proc/self/statm") // before there are no files
	collectAt(memory)
	limit(unix.RLIMIT_NOFILE, 0)
	limit(unix.RLIMIT_CORE, 0)
	limit(unix.RLIMIT_FSIZE, 0)
	if fields := bytes.Fields(text); err == nil && len(fields) > 5 {
		if pages, err := strconv.ParseUint(string(fields[5]), 10, 64); err == nil {
			if limit(unix.RLIMIT_DATA, pages*uint64(os.Getpagesize())+uint64(memory)) == nil {
				return
			}
		}
	}
	go watchMemory(memory)
}
