package journal

// fullChild has no counterpart here: see full_unix_test.go.
func fullChild(string) {}
