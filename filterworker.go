package main

import (
	"io"

	"carillon/scripts/filter/worker"
)

// filterWorkerCommand is what serve starts itself with, to run filters in a
// process of their own. It is not for people, so usage doesn't tell of it.
const filterWorkerCommand = "filter-worker"

// filterWorkerArgv starts a worker: nil stands for this program. A test's binary
// is to be named.
var filterWorkerArgv []string

// runFilterWorker answers what the serve at the other end of the pipes asks.
func runFilterWorker(stdin io.Reader, stdout io.Writer) int {
	return worker.Main(stdin, stdout)
}
