// Modbus is an adapter for devices that speak Modbus over TCP, or RTU frames over TCP: heat pumps,
// energy meters, inverters, relay boards. Registers and coils are entities by configuration, which
// README.md describes.
//
// Order: a connection makes one request at a time, commands before polls. What one request reads is
// published as one run of states. A command's state is read back and
// published before the command's result.
//
// Blocking: each connection has a goroutine of its own, so a device that doesn't answer delays nobody on
// another connection. Every request ends at its time-out. An answer is taken for that of the request it
// belongs to, or for none: after what breaks the protocol, and after a time-out where answers have no number, the
// connection is made anew.
package main

import "carillon/plugins/adapter"

func main() { adapter.Serve(newGateway()) }
