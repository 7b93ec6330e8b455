package main

// tasmotaPrefix is what topics of Tasmota's own discovery begin with.
const tasmotaPrefix = "tasmota/discovery/"

type tasmota struct{}

func (b *bridge) tasmotaSays(m *message, rest string) {}
