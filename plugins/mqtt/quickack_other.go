//go:build !linux

package main

import "net"

func quick(c net.Conn) net.Conn { return c }
