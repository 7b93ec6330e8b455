//go:build !linux

package worker

func holdWorkers() {}
