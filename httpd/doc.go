// Package httpd is Carillon's HTTP side: Home Assistant's streaming and REST
// interface and the flat stream of its MCP servers, on fasthttp.
//
// A [Server] checks credentials, limits and input, and turns requests into
// calls on a [runtime.Runtime] and streams on a [broadcast.Hub]. Everything that
// belongs to a home's files (configuration, scripts, the journal) reaches it
// through function fields, so that it can be told apart from them and tested
// without them.
//
// Order: a request that changes something is answered only after the journal
// holds the change and every later request sees it. A stream gets the events of
// its selection once each, in the order of the journal; where a snapshot was
// asked for, it is cut at an exact sequence and what follows is exactly what
// came after the cut.
//
// Blocking: a request holds one goroutine until it is answered. A stream holds
// none: once its first frames are written the hub owns the connection.
//
// Nothing that a client sends takes unbounded time or memory, credentials and
// query strings never reach a log, and each refusal is counted by its reason.
package httpd
