package filter

import (
	"sync"

	"carillon/runtime"
)

// A Set is the programs in use. It decides about an event with all of them:
// equal ones count once, those that an index rules out are not looked at, and
// conditions that several have in common are evaluated once.
//
// Its methods may be called by any goroutine; they wait for each other. The
// function that Decide calls may call Add and Remove, but not Decide.
type Set struct {
	// deciding is held by Decide for as long as it yields.
	deciding sync.Mutex
	decided  []verdict // Guarded by deciding.

	mu sync.Mutex
	// Guarded by mu.
	entries    map[string]*Entry     // by key
	conditions map[string]*condition // by key
	index      branch
	slots      int // the most that a program in here had
	event      Event
	stamp      uint64 // of the event at hand
}

// NewSet returns an empty set.
func NewSet() *Set {
	return &Set{entries: map[string]*Entry{}, conditions: map[string]*condition{}}
}

// An Entry is a program in a Set.
type Entry struct {
	// Static after construction.
	Program *Program // the first that was added of those that are equal

	Value any // its owner's

	// Guarded by Set.mu.
	users      int
	route      []*conjunct // what the index holds it by
	stamp      uint64      // of the last event that it was judged on
	conditions []*condition
	decides    bool // whether conditions are all there is to know
}

type verdict struct {
	entry   *Entry
	outcome Outcome
}

// A condition is a conjunct of one program or more, and what came of it for the
// event whose stamp it has.
type condition struct {
	key   string
	test  func(*machine) bool
	users int

	stamp uint64
	holds bool
	threw bool
	spent int // the work that it took
}

// Add puts p into the set, or returns the entry of a program that is the same.
// Every Add needs a Remove.
func (s *Set) Add(p *Program) *Entry {
	s.mu.Lock()
	defer s.mu.Unlock()
	if e := s.entries[p.key]; e != nil {
		e.users++
		return e
	}
	e := &Entry{Program: p, users: 1}
	s.entries[p.key] = e
	s.slots = max(s.slots, p.slots)
	s.addConditions(e)
	e.route = p.route()
	s.index.add(e, 0)
	return e
}

// addConditions splits e's program. Where the last conjunct may be a list or an
// object, its value matters and not only its truth.
func (s *Set) addConditions(e *Entry) {
	conjuncts := e.Program.conjuncts
	last := len(conjuncts) - 1
	e.decides = last >= 0 && !e.Program.projects
	if !e.decides && last >= 0 {
		conjuncts = conjuncts[:last]
	}
	e.conditions = make([]*condition, len(conjuncts))
	for i := range conjuncts {
		c := &conjuncts[i]
		shared := s.conditions[c.key]
		if shared == nil {
			shared = &condition{key: c.key, test: c.test}
			s.conditions[c.key] = shared
		}
		shared.users++
		e.conditions[i] = shared
	}
}

// Remove takes back one Add. The last one removes the entry; a Decide under way
// may still yield it.
func (s *Set) Remove(e *Entry) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if e.users == 0 {
		return // more often than it was added
	}
	if e.users--; e.users > 0 {
		return
	}
	delete(s.entries, e.Program.key)
	for _, c := range e.conditions {
		if c.users--; c.users == 0 {
			delete(s.conditions, c.key)
		}
	}
	if s.index.remove(e, 0) { // what maps once needed they keep
		s.entries, s.conditions, s.index = map[string]*Entry{}, map[string]*condition{}, branch{}
	}
}

// Len returns how many different programs are in the set.
func (s *Set) Len() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.entries)
}

// Decide calls yield with every entry whose program takes ev or throws on it,
// in no particular order.
func (s *Set) Decide(ev *runtime.Event, yield func(*Entry, Outcome)) {
	s.deciding.Lock()
	defer s.deciding.Unlock()
	s.decide(ev)
	for i := range s.decided {
		yield(s.decided[i].entry, s.decided[i].outcome)
	}
	clear(s.decided)
	s.decided = s.decided[:0]
}

func (s *Set) decide(ev *runtime.Event) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.event.Reset(ev)
	s.stamp++
	s.look(&s.index)
}

func (s *Set) judgeAll(entries []*Entry) {
	for _, e := range entries {
		s.judge(e)
	}
}

// judge decides about e, unless it did for this event.
func (s *Set) judge(e *Entry) {
	if e.stamp == s.stamp {
		return
	}
	e.stamp = s.stamp
	if o := s.outcome(e); o.Match || o.Err != "" {
		s.decided = append(s.decided, verdict{e, o})
	}
}

// outcome is e.Program.Eval of the event at hand.
func (s *Set) outcome(e *Entry) Outcome {
	work := maxWork
	for _, c := range e.conditions {
		if c.stamp != s.stamp {
			s.evaluate(c)
		}
		if work -= c.spent; c.threw || work < 0 {
			return e.Program.Eval(&s.event)
		}
		if !c.holds {
			return Outcome{}
		}
	}
	if e.decides {
		return Outcome{Match: true}
	}
	return e.Program.Eval(&s.event)
}

func (s *Set) evaluate(c *condition) {
	s.event.machine.begin(&s.event, s.slots)
	c.holds = c.test(&s.event.machine)
	c.threw = s.event.machine.fault != nil
	c.spent = maxWork - s.event.machine.work
	c.stamp = s.stamp
}
