// Package plugins is the adapter host: every executable of a folder, or named in
// the configuration, runs as an adapter: a process of its own that speaks to
// hardware.
//
// Each start is a generation, mqtt@3. What it declares belongs to the adapter
// mqtt from then on; its entities become unavailable when its process ends, is
// ended or hangs, and are taken up again by the next generation. A crashed adapter
// is started again after 0.5 s, at most 60 s; five crashes within ten minutes make it
// failed until somebody asks for it or it changes.
//
// A new executable or configuration is a transaction, as a script's reload is:
// the new generation starts beside the old, shakes hands, is configured and
// answers for its health before the old one is drained; then its session opens.
// An exclusive adapter ends first, and is started again if the new one fails.
// Commands that come in between wait, but not longer than 3 s for a process that is
// there and not yet ready. What such a process has not declared is unavailable after 3 s.
//
// Order: what one adapter publishes goes into the journal in its order, each item
// once, whatever the journal's trouble; the old generation's last before the new
// one's first. A command's answer comes behind what was published under its context.
// Within a batch, too: what is said of an entity before the declaration that takes it away
// is stored.
// Items that are refused are named in the acknowledgement, with a counted reason.
//
// An adapter that follows events gets those of its selection once and in the order of
// the journal, and only what the runtime has folded, or is told what it can't get. The
// newest are held once for all follows; one that is behind them reads the journal.
//
// Blocking: an adapter may have Credit items on their way to the journal, and
// gets credit back as the journal stores them. It is told as many events as it gave
// credit for, and the tail never waits for it. No adapter, stopped, silent or
// hostile, makes anybody else wait: every call to it has a deadline, every queue
// a bound, and what breaks the contract ends the process with a named Reason. What
// adapters started ends with the server, also when that is killed: see guard.
package plugins
