// Hostsensors is an adapter that makes sensors of the machine it runs on: CPU, memory, disks,
// network, temperatures and batteries, with the units, device classes and state classes
// that Home Assistant has for them. README.md says what there is to configure.
//
// Order: a round reads all that is included and publishes it as one run of
// states. An entity is declared with the first round that it appears in, and
// unavailable from the first that it is missing from.
//
// Blocking: what doesn't answer within 5 s, such as a disk that hangs, is left
// out of its rounds until it does; the rest goes on.
package main

import "carillon/plugins/adapter"

func main() { adapter.Serve(newMachine()) }
