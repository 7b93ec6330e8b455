package journal

import "golang.org/x/sys/unix"

// bootID names the running system since it was started; empty if unknown.
func bootID() string {
	id, _ := unix.Sysctl("kern.bootsessionuuid")
	return id
}
