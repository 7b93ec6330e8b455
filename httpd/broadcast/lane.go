package broadcast

// A lane is all filters that are asked together.
type lane struct{}
