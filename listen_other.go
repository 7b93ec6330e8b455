//go:build !linux

package main

import "net"

// listenConfig makes the listener of HTTP.
var listenConfig net.ListenConfig
