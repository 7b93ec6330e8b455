//go:build !unix

package loadtest

import (
	"os"
	"os/exec"
)

func ownGroup(*exec.Cmd) {}

// endGroup ends the process: there is no polite way here.
func endGroup(pid int, _ bool) {
	if p, err := os.FindProcess(pid); err == nil {
		p.Kill()
	}
}
