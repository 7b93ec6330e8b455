package filter

// A machine runs programs on one event after the other. It belongs to one
// goroutine. Nothing in a program has side effects, so a run goes on behind a
// throw with undefined in the place of what was thrown: only the first fault
// counts, and what is computed after it is thrown away with the rest.
type machine struct {
	event  *Event
	locals []value
	stack  []value // arguments of the calls under way
	fault  *fault  // the first that was thrown since begin
	work   int     // what is left of maxWork
}

// A fault is what a program threw.
type fault struct {
	class   string // TypeError, RangeError, or Error for what this package can't do
	message string
}

// String returns it as JavaScript's String(error) does.
func (f *fault) String() string { return f.class + ": " + f.message }

// maxWork bounds a run: steps of loops, and characters that are made or passed
// over, in units of 32. It is far above what any useful predicate takes (an
// event of 64 KiB, each item of its lists met 25 times) and comes to less than
// a millisecond: with it, all filters that one credential may have (100 by
// default) hold the others up for some tens of milliseconds at most.
const maxWork = 50_000

// begin makes m ready to run programs with up to slots locals on e. What was
// thrown before is forgotten.
func (m *machine) begin(e *Event, slots int) {
	m.event, m.fault, m.work = e, nil, maxWork
	if len(m.locals) < slots {
		m.locals = make([]value, slots)
	}
}

// throw notes a fault, unless there is one already, and returns undefined. The
// message becomes UTF-8: it may quote lone surrogates.
func (m *machine) throw(class, message string) value {
	if m.fault == nil {
		m.fault = &fault{class: class, message: replaceHalves(message)}
	}
	return value{}
}

func (m *machine) typeError(message string) value { return m.throw("TypeError", message) }

// spend takes units of work and reports whether the run may go on.
func (m *machine) spend(units int) bool {
	if m.work -= units; m.work < 0 {
		m.throw("RangeError", "the filter takes too long on this event")
	}
	return m.fault == nil
}
