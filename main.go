// Carillon is a device-event runtime: scripts and adapters make events, a
// journal orders them, and event streams carry them to everyone who listens.
package main

func main() {}
