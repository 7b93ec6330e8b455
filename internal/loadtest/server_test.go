package loadtest

import (
	"fmt"
	"net"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestMain lets the test binary play a server process.
func TestMain(m *testing.M) {
	switch os.Getenv("LOADTEST_PLAY") {
	case "server":
		playServer()
	case "broken":
		fmt.Fprintln(os.Stderr, "carillon.yaml:3: no such key; see http://127.0.0.1/?token=abc")
		os.Exit(1)
	default:
		os.Exit(m.Run())
	}
}

// playServer answers with its arguments until it is asked to end.
func playServer() {
	home := os.Args[slices.Index(os.Args, "-home")+1]
	os.MkdirAll(home, 0o700)
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintln(w, os.Args[1:], os.Getenv("CARILLON_TOKEN"))
	})}
	l, err := net.Listen("tcp", os.Args[slices.Index(os.Args, "-listen")+1])
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	fmt.Printf("Carillon is ringing\nOpen http://%s/?token=%s in a browser.\n", l.Addr(), os.Getenv("CARILLON_TOKEN"))
	end := make(chan os.Signal, 1)
	signal.Notify(end, syscall.SIGTERM)
	go func() {
		<-end
		server.Close()
	}()
	server.Serve(l)
}

func TestStartServer(t *testing.T) {
	s, err := StartServer(t.Context(), ServerOptions{
		Exe: os.Args[0], Env: []string{"LOADTEST_PLAY=server"}, Args: []string{"-more"}, Config: "limits: {}\n"})
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.Get(s.URL.String())
	if err != nil {
		s.Stop()
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var b strings.Builder
	resp.Write(&b)
	want := fmt.Sprintf("[serve -home %s -listen %s -more] %s", filepath.Join(s.dir, "home"), s.URL.Host, s.Token)
	if !strings.Contains(b.String(), want) {
		t.Errorf("got %s, want %s", b.String(), want)
	}
	if _, err := os.Stat(s.dir); err != nil {
		t.Errorf("home: %v", err)
	}
	config, err := os.ReadFile(filepath.Join(s.dir, "home", "carillon.yaml"))
	if err != nil || string(config) != "limits: {}\n" {
		t.Errorf("got %q, %v for the configuration, want what was asked for", config, err)
	}
	for _, killed := range []bool{true, false} {
		checkRestart(t, s, killed)
	}
	begin := time.Now()
	if err := s.Stop(); err != nil {
		t.Error(err)
	}
	if took := time.Since(begin); took > stopTimeout {
		t.Errorf("stopping took %v", took)
	}
	if _, err := os.Stat(s.dir); !os.IsNotExist(err) {
		t.Errorf("got %v for the home after the end, want it removed", err)
	}
	if p, err := os.FindProcess(s.PID); err == nil && p.Signal(syscall.Signal(0)) == nil {
		t.Errorf("process %d still lives", s.PID)
	}
}

// checkRestart restarts s: another process, the same address and home.
func checkRestart(t *testing.T, s *Server, killed bool) {
	t.Helper()
	pid, address := s.PID, s.URL.String()
	if err := s.Restart(t.Context(), killed); err != nil {
		t.Fatalf("restarting, killed %v: %v", killed, err)
	}
	resp, err := http.Get(address)
	if err != nil {
		t.Fatalf("restarted, killed %v: %v", killed, err)
	}
	resp.Body.Close()
	if s.PID == pid || s.URL.String() != address {
		t.Errorf("got process %d at %s after a restart of %d at %s, want another one there", s.PID, s.URL, pid, address)
	}
}

func TestStartServerThatEnds(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir())
	_, err := StartServer(t.Context(), ServerOptions{Exe: os.Args[0], Env: []string{"LOADTEST_PLAY=broken"}})
	if err == nil || !strings.Contains(err.Error(), "carillon.yaml:3: no such key") || strings.Contains(err.Error(), "token=abc") {
		t.Errorf("got %v, want the process's own words without the token", err)
	}
	if _, err := StartServer(t.Context(), ServerOptions{Exe: "/nonexistent"}); err == nil {
		t.Error("got a server of no program")
	}
	if left, _ := os.ReadDir(os.TempDir()); len(left) > 0 {
		t.Errorf("got %v left in the temporary folder, want nothing", left)
	}
}
