// Mqtt is an adapter for devices that speak MQTT and announce themselves: by Home
// Assistant's MQTT discovery (Zigbee2MQTT, ESPHome and others), or by Tasmota's own; and for
// Shellies, by what they say anyway.
// It connects to a broker, or is one. README.md says what there is to configure.
//
// Order: messages of one topic take effect in the order in which the broker sent
// them. An entity is declared before its topics are subscribed to, so retained
// states find it. A command's messages go out in their order.
//
// Blocking: a slow journal stops the reading from the broker, nothing else. A
// message of quality 1 or 2 is acknowledged to the broker once the journal holds
// what it said; a broker that keeps the session sends what was not acknowledged
// again.
package main

import "carillon/plugins/adapter"

func main() { adapter.Serve(newBridge()) }
