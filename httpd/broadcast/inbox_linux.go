package broadcast

// An inbox is what others want of a pump.
type inbox struct {
	streams             []*Stream
	jobs                []*job
	asks                []func()
	dirty               []*member
	sweep, drain, abort bool
}

func (w *inbox) reset() {
	*w = inbox{streams: reuse(w.streams), jobs: reuse(w.jobs), asks: reuse(w.asks), dirty: reuse(w.dirty)}
}

// reuse empties a list, and gives its memory back if it was unusually long.
func reuse[T any](list []T) []T {
	if cap(list) > 1024 {
		return nil
	}
	clear(list)
	return list[:0]
}
