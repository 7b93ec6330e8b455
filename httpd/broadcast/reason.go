package broadcast

// A Reason says why a stream ended. Its text is also the label of the counter
// carillon_stream_closed_total.
type Reason uint8

const (
	ClientLeft   Reason = iota // the client closed the connection or its sending half
	MaxAge                     // the stream's MaxAge is over
	Shutdown                   // Close
	Ended                      // Hub.End
	WriteError                 // the connection broke
	Flooded                    // the client sent more than a stream's client may
	Stalled                    // the client took nothing for a minute
	ReplayFailed               // the journal could not be read
	Slow                       // it fell behind and its policy is Disconnect
	Revoked                    // Hub.End, since its credential is no longer valid
	reasons      = iota
)

var reasonNames = [reasons]string{
	"client_left", "max_age", "shutdown", "ended", "write_error", "flooded", "stalled", "replay_failed", "slow", "revoked",
}

func (r Reason) String() string { return reasonNames[r] }
