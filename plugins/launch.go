package plugins

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"time"

	goruntime "runtime"

	"github.com/hashicorp/go-hclog"
	goplugin "github.com/hashicorp/go-plugin"
	"github.com/hashicorp/go-plugin/runner"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"

	sdk "carillon/plugins/adapter"
)

// A launch is what is needed to start a process.
type launch struct {
	name    string
	program *program
	conf    *AdapterConfig
	workDir string // its working folder, which outlives it
	lines   func(stream, line string, more int)
	timeout time.Duration
}

// start starts the process, shakes hands with it, and connects. The process is
// gone when it fails. Ctx ends the attempt only.
func (h *Host) start(ctx context.Context, l *launch) (p *process, conn *grpc.ClientConn, err error) {
	var as *account
	if l.conf.User != "" {
		if as, err = findAccount(l.conf.User); err != nil {
			return nil, nil, &failure{Reason: ReasonStart, Err: err, permanent: true}
		}
	}
	sockets, err := l.folders(as, &h.sockets)
	if err != nil {
		return nil, nil, &failure{Reason: ReasonStart, Err: err}
	}
	p = &process{spawn: &h.spawner, guard: &h.guard, sockets: &h.sockets, log: h.log(), memory: l.conf.Memory, hello: newHello(), lines: l.lines, exited: make(chan struct{}), quiet: make(chan struct{})}
	config := &goplugin.ClientConfig{
		HandshakeConfig:  sdk.Handshake,
		Plugins:          goplugin.PluginSet{},
		AllowedProtocols: []goplugin.Protocol{goplugin.ProtocolGRPC},
		AutoMTLS:         true,
		SkipHostEnv:      true,
		StartTimeout:     l.timeout,
		Logger:           hclog.NewNullLogger(),
		UnixSocketConfig: &goplugin.UnixSocketConfig{TempDir: sockets},
		RunnerFunc: func(_ hclog.Logger, cmd *exec.Cmd, dir string) (runner.Runner, error) {
			return p, p.command(l, cmd.Env, dir, as)
		},
	}
	address, err := handshake(ctx, goplugin.NewClient(config), p)
	if err == nil {
		conn, err = connect(address, config.TLSConfig)
	}
	if err != nil {
		p.kill()
		os.RemoveAll(sockets)
		if as != nil && errors.Is(err, fs.ErrPermission) {
			err = failed(ReasonStart, "%w (the user %s must be able to reach it: chmod o+x the folders that it lies in)", err, l.conf.User)
		}
		return nil, nil, err
	}
	go func() {
		<-p.exited
		os.RemoveAll(sockets)
	}()
	return p, conn, nil
}

// maxTempDir is how long the path of the system's temporary folder may be for sockets to lie in
// it: what comes behind takes up to 69 bytes, of the 103 that macOS allows; Linux allows 107.
const maxTempDir = 103 - len("/carillon-4294967295/4294967295/plugin-dir4294967295/plugin4294967295")

// A socketFolder is what the adapters' folders for sockets lie in: one for each server, so
// that whatever ends it can remove it.
type socketFolder struct {
	mu   sync.Mutex
	path string // empty: not made yet; guarded by mu
}

// sub makes a folder in it.
func (f *socketFolder) sub() (string, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.path == "" {
		parent := ""
		if len(os.TempDir()) > maxTempDir && goruntime.GOOS != "windows" {
			parent = "/tmp"
		}
		path, err := os.MkdirTemp(parent, "carillon-")
		if err != nil {
			return "", err
		}
		if err := os.Chmod(path, 0o711); err != nil { // other users pass through it
			return "", errors.Join(err, os.Remove(path))
		}
		f.path = path
	}
	sub, err := os.MkdirTemp(f.path, "")
	if !errors.Is(err, fs.ErrNotExist) {
		return sub, err
	}
	// Somebody tidied up while it was empty. The guard knows this path.
	if err := errors.Join(os.Mkdir(f.path, 0o711), os.Chmod(f.path, 0o711)); err != nil {
		return "", err
	}
	return os.MkdirTemp(f.path, "")
}

func (f *socketFolder) get() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.path
}

// remove removes it with all that is in it.
func (f *socketFolder) remove() {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.path != "" {
		os.RemoveAll(f.path)
		f.path = ""
	}
}

// folders makes the working folder and a short-lived one for sockets, whose
// names must be short.
func (l *launch) folders(as *account, all *socketFolder) (sockets string, err error) {
	if err := os.MkdirAll(filepath.Dir(l.workDir), 0o711); err != nil { // other users pass through it
		return "", err
	}
	if err := os.MkdirAll(l.workDir, 0o700); err != nil {
		return "", err
	}
	if sockets, err = all.sub(); err != nil {
		return "", err
	}
	if as == nil {
		return sockets, nil
	}
	if err := errors.Join(as.own(l.workDir), as.own(sockets)); err != nil {
		os.RemoveAll(sockets)
		return "", fmt.Errorf("running as %s: %w (the server must run as root for it)", l.conf.User, err)
	}
	return sockets, nil
}

// command makes the command from what go-plugin wants its environment to be.
func (p *process) command(l *launch, env []string, sockets string, as *account) error {
	p.cmd = exec.Command(l.program.path, l.conf.Args...)
	p.cmd.Dir = l.workDir
	p.cmd.Env = append(l.environment(sockets), env...)
	if as != nil {
		if err := as.own(sockets); err != nil {
			return err
		}
	}
	return prepare(p.cmd, as)
}

// environment returns what every adapter has, and what it is allowed besides.
func (l *launch) environment(sockets string) []string {
	env := []string{"HOME=" + l.workDir, "TMPDIR=" + sockets, "LANG=C.UTF-8", "CARILLON_ADAPTER_NAME=" + l.name}
	path := "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
	if goruntime.GOOS == "windows" {
		path = os.Getenv("PATH")
		env = append(env, "SYSTEMROOT="+os.Getenv("SYSTEMROOT"), "TEMP="+sockets)
	}
	env = append(env, "PATH="+path)
	if zone, ok := os.LookupEnv("TZ"); ok { // it lives by the server's clock
		env = append(env, "TZ="+zone)
	}
	for _, e := range l.conf.Env {
		if !strings.Contains(e, "=") {
			value, ok := os.LookupEnv(e)
			if !ok {
				continue
			}
			e += "=" + value
		}
		env = append(env, e)
	}
	return env
}

// handshake starts the process and reads where it listens.
func handshake(ctx context.Context, client *goplugin.Client, p *process) (net.Addr, error) {
	type answer struct {
		address net.Addr
		err     error
	}
	answers := make(chan answer, 1)
	began := time.Now()
	go func() {
		address, err := client.Start()
		answers <- answer{address, err}
	}()
	var a answer
	select {
	case a = <-answers:
	case <-ctx.Done():
		// The first line never comes now, so Start returns and ends the process.
		p.hello.w.Close()
		<-answers
		return nil, ctx.Err()
	}
	if a.err == nil {
		return a.address, nil
	}
	return nil, p.explain(a.err, time.Since(began))
}

// explain says why there was no handshake. The process has ended, or never began.
func (p *process) explain(err error, after time.Duration) error {
	if f := (*failure)(nil); errors.As(err, &f) {
		return f
	}
	if p.pid() == 0 {
		return &failure{Reason: ReasonStart, Err: err}
	}
	line, unknown := strings.CutPrefix(err.Error(), "Unrecognized remote plugin message: ")
	silent := unknown && strings.HasPrefix(line, "\n") || strings.Contains(err.Error(), "exited before")
	switch {
	case strings.HasPrefix(err.Error(), "timeout"):
		return failed(ReasonTimeout, "it did not print where it listens within %v", after.Round(time.Millisecond))
	case silent && !p.wasKilled():
		return failed(ReasonExit, "it ended before it shook hands: %w%s", p.how(), p.boundHint())
	case silent:
		return failed(ReasonHandshake, "it closed its standard output instead of printing where it listens")
	case unknown:
		return failed(ReasonHandshake, "its first line is not that of an adapter: %.200q", line)
	}
	return failed(ReasonHandshake, "shaking hands: %.300s", err.Error())
}

// boundHint says what may have ended a process that never came to life.
func (p *process) boundHint() string {
	if p.memory == 0 {
		return ""
	}
	return fmt.Sprintf("; it may want more memory than it may have (memory: %d MiB)", p.memory>>20)
}

// connect makes the connection; it is established when it is first used.
func connect(address net.Addr, mutual *tls.Config) (*grpc.ClientConn, error) {
	dialer := net.Dialer{}
	return grpc.NewClient("passthrough:///adapter",
		grpc.WithTransportCredentials(credentials.NewTLS(mutual)),
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) {
			return dialer.DialContext(ctx, address.Network(), address.String())
		}),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(MaxMessage), grpc.MaxCallSendMsgSize(MaxMessage)),
		grpc.WithInitialWindowSize(1<<20), grpc.WithInitialConnWindowSize(1<<20), // no probing for a socket of this machine
		grpc.WithMaxHeaderListSize(16<<10),
		grpc.WithDisableServiceConfig(), grpc.WithDisableRetry(), grpc.WithIdleTimeout(0),
	)
}

// workDir returns the folder of the adapter's own.
func (h *Host) workDir(name string) string { return filepath.Join(h.DataDir, "state", name) }
