//go:build !linux

package broadcast

import "net"

// systemPumps returns none: the portable pump does all the work.
func systemPumps(*Hub, int) ([]pump, error) { return nil, nil }

func duplicate(net.Conn, int) (fd int, ok bool, err error) { return 0, false, nil }

func dropDescriptor(int) {}
