//go:build !unix

package scripts

import "errors"

func mkfifo(string) error { return errors.New("no FIFOs here") }
