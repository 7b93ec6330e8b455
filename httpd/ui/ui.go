// Package ui is the web page that a browser gets at a home's address, embedded
// into the binary. It needs nothing but the server's own routes.
package ui

import _ "embed"

// Page is the page's HTML, with its style and script.
//
//go:embed page.html
var Page []byte
