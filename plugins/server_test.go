//go:build unix

package plugins

func runServer(string) {}
