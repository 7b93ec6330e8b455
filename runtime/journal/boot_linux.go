package journal

import (
	"os"
	"strings"
)

// bootID names the running system since it was started; empty if unknown.
func bootID() string {
	text, _ := os.ReadFile("/proc/sys/kernel/random/boot_id")
	return strings.TrimSpace(string(text))
}
