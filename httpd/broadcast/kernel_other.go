//go:build !linux

package broadcast

// kernelBytes returns 0: what the kernel holds cannot be known here.
func (s *Stream) kernelBytes() int { return 0 }
