//go:build !linux

package loadtest

import (
	"context"
	"errors"
	"net"
)

// fast reports whether workers can use loop on this system.
const fast = false

func (w *worker) loop(context.Context, *net.TCPAddr) error {
	return errors.ErrUnsupported
}
