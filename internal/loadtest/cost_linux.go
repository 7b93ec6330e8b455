package loadtest

import (
	"bytes"
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// clockTick is the unit of /proc/<pid>/stat's times: USER_HZ, 100 on every
// Linux system.
const clockTick = 10 * time.Millisecond

// readProcess reads a process's CPU time, user and system, and its resident
// memory in bytes (proc(5): stat, fields 14 and 15; statm, field 2).
func readProcess(pid int) (cpu time.Duration, rss int64, err error) {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, 0, fmt.Errorf("reading process %d: %w", pid, err)
	}
	// The name, field 2, may hold anything, but the last ) ends it.
	fields := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))
	if len(fields) < 13 {
		return 0, 0, fmt.Errorf("reading process %d: stat has %d fields after the name", pid, len(fields))
	}
	for _, f := range fields[11:13] {
		n, err := strconv.ParseInt(f, 10, 64)
		if err != nil {
			return 0, 0, fmt.Errorf("reading process %d: %w", pid, err)
		}
		cpu += time.Duration(n) * clockTick
	}
	statm, err := os.ReadFile(fmt.Sprintf("/proc/%d/statm", pid))
	if err != nil {
		return 0, 0, fmt.Errorf("reading process %d: %w", pid, err)
	}
	var size, resident int64
	if _, err := fmt.Sscan(string(statm), &size, &resident); err != nil {
		return 0, 0, fmt.Errorf("reading process %d: statm: %w", pid, err)
	}
	return cpu, resident * int64(os.Getpagesize()), nil
}

// clientCPU returns the CPU time that this process has used.
func clientCPU() time.Duration {
	var u unix.Rusage
	if unix.Getrusage(unix.RUSAGE_SELF, &u) != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// cpuModel returns the processor's name, or "".
func cpuModel() string {
	info, _ := os.ReadFile("/proc/cpuinfo")
	for line := range strings.Lines(string(info)) {
		if name, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(name) == "model name" {
			return strings.TrimSpace(value)
		}
	}
	return ""
}

// raiseFileLimit makes sure that the process can hold n descriptors.
func raiseFileLimit(n int) error {
	var l unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &l); err != nil {
		return fmt.Errorf("reading the limit of open files: %w", err)
	}
	if uint64(n) <= l.Cur {
		return nil
	}
	if uint64(n) > l.Max {
		return fmt.Errorf("%d open files are needed and at most %d are allowed (ulimit -Hn): use -streams %d or fewer",
			n, l.Max, max(int64(l.Max)-spareFiles, 1))
	}
	l.Cur = l.Max
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &l); err != nil {
		return fmt.Errorf("raising the limit of open files to %d: %w", l.Max, err)
	}
	return nil
}

// smallReceiveBuffer gives a socket the receive buffer of a client that never reads.
func smallReceiveBuffer(_, _ string, c syscall.RawConn) error {
	var err error
	if e := c.Control(func(fd uintptr) {
		err = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVBUF, stalledBuffer)
	}); e != nil {
		return e
	}
	return err
}

// kernelTCP returns the system's memory for TCP in bytes (proc(5):
// /proc/net/sockstat, in pages).
func kernelTCP() (bytes int64, known bool) {
	text, err := os.ReadFile("/proc/net/sockstat")
	if err != nil {
		return 0, false
	}
	for line := range strings.Lines(string(text)) {
		if f := strings.Fields(line); len(f) > 2 && f[0] == "TCP:" && f[len(f)-2] == "mem" {
			n, err := strconv.ParseInt(f[len(f)-1], 10, 64)
			return n * int64(os.Getpagesize()), err == nil
		}
	}
	return 0, false
}

// ownKernel returns what the system keeps for these ends, in bytes
// (socket(7): SO_MEMINFO; received, allocated ahead, to be sent).
func ownKernel(conns []net.Conn) (bytes int64) {
	for _, c := range conns {
		onSocket(c, func(fd int) {
			var info [9]uint32
			size := uint32(unsafe.Sizeof(info))
			_, _, errno := unix.Syscall6(unix.SYS_GETSOCKOPT, uintptr(fd), unix.SOL_SOCKET, unix.SO_MEMINFO,
				uintptr(unsafe.Pointer(&info)), uintptr(unsafe.Pointer(&size)), 0)
			if errno == 0 {
				bytes += int64(info[0]) + int64(info[4]) + int64(info[5])
			}
		})
	}
	return bytes
}

// connected returns how many connections have not been closed by the other end.
func connected(conns []net.Conn) (n int) {
	for _, c := range conns {
		onSocket(c, func(fd int) {
			p := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLRDHUP}}
			if got, err := unix.Poll(p, 0); err == nil && got == 0 {
				n++
			}
		})
	}
	return n
}

func onSocket(c net.Conn, f func(fd int)) {
	if tcp, ok := c.(*net.TCPConn); ok {
		if raw, err := tcp.SyscallConn(); err == nil {
			raw.Control(func(fd uintptr) { f(int(fd)) })
		}
	}
}
