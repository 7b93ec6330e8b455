package runtimetest

import (
	"fmt"
	"strings"
	"time"

	"carillon/plugins/adapter/wire"
)

// The home of the test has a short history: present states, events, a gap that retention
// left, and events again, of entities that the follow asks for.
const (
	testEpoch   = "conformanc"
	testFollows = 16
	testCredit  = 1 << 16
	testHead    = 100 // what was before the session
	shortStory  = 6   // happenings that are told without being asked for more
)

// A watchedFollow is what the test tells an adapter that follows.
type watchedFollow struct {
	want   *wire.Follow
	credit int
	sent   int // what the happenings so far took of the credit
	back   int // what of it was given back
	seq    uint64
	next   int // of the story
}

// follow takes a Follow. Callers hold mu, as do those of all that it calls.
func (s *watchedSession) follow(w *wire.Follow) {
	switch {
	case w.Id != s.lastFollow+1:
		s.tr.fail("follow %d comes behind follow %d: their numbers go up from 1, by one each", w.Id, s.lastFollow)
	case len(s.follows) >= int(s.limits.MaxFollows):
		s.tr.fail("it has more than the %d follows at once that the host allows", s.limits.MaxFollows)
	case w.Credit == 0 || w.Credit > testCredit:
		s.tr.fail("follow %d gives credit for %d; it may be 1 to %d", w.Id, w.Credit, testCredit)
	}
	for _, list := range [][]string{w.Types, w.Domains, w.Entities} {
		for _, name := range list {
			if len(list) > 100 || len(name) > 255 {
				s.tr.fail("follow %d: a list has %d names, one of %d bytes; it may have 100, of 255", w.Id, len(list), len(name))
			}
		}
	}
	s.lastFollow = w.Id
	s.follows[w.Id] = &watchedFollow{want: w, credit: min(int(w.Credit), testCredit), seq: testHead}
}

func (s *watchedSession) followCredit(w *wire.FollowCredit) {
	f := s.follows[w.Follow]
	if f == nil {
		s.tr.fail("it gives credit for follow %d, which it doesn't have", w.Follow)
		return
	}
	if f.back += int(w.Credit); f.back > f.sent {
		s.tr.fail("follow %d: it gives back credit for %d, and was sent what takes %d", w.Follow, f.back, f.sent)
	}
	f.credit = min(f.credit+int(w.Credit), testCredit)
}

func (s *watchedSession) unfollow(w *wire.Unfollow) {
	if s.follows[w.Follow] == nil {
		s.tr.fail("it ends follow %d, which it doesn't have", w.Follow)
	}
	delete(s.follows, w.Follow)
}

// told returns what is to be told now: of the story, or, when flooding, what there is
// credit for until some is given back.
func (s *watchedSession) told() (messages []*wire.FromHost) {
	for id, f := range s.follows {
		for f.credit > 0 && (s.flooding && f.back == 0 || f.next < shortStory) {
			w := f.happening()
			cost := 1 + len(w.Json)/4096
			f.credit -= cost
			f.sent += cost
			h := &wire.Happenings{Follow: id, Happenings: []*wire.Happening{w}}
			messages = append(messages, &wire.FromHost{Message: &wire.FromHost_Happenings{Happenings: h}})
		}
	}
	return messages
}

// happening returns the next of the story. Every hundredth takes more than one of the
// credit.
func (f *watchedFollow) happening() *wire.Happening {
	n := f.next
	f.next++
	w := &wire.Happening{Type: "state_changed", EntityId: f.entity(), Source: "test@1", TimeUs: time.Now().UnixMicro()}
	switch {
	case n == 0 && f.want.After != "" && !strings.HasPrefix(f.want.After, testEpoch+"-"):
		return f.gap(0, "epoch")
	case n == 1 && f.want.Snapshot:
		w.Present = true
	case n == 3:
		f.seq += 10
		return f.gap(f.seq-9, "aged_out")
	case n == 4 && f.want.Marks:
		f.seq += 1000
		return &wire.Happening{Id: fmt.Sprintf("%s-%d", testEpoch, f.seq)}
	default:
		f.seq++
	}
	old := `"old_state":null`
	if !w.Present {
		old = `"old_state":` + f.state(n-1)
	}
	w.Id = fmt.Sprintf("%s-%d", testEpoch, f.seq)
	w.Json = fmt.Appendf(nil, `{"event_type":"state_changed","data":{"entity_id":%q,%s,"new_state":%s},"origin":"LOCAL","time_fired":%q,"context":%s}`,
		w.EntityId, old, f.state(n), stamp(), testContext)
	if len(f.want.Types) > 0 && !taken(f.want.Types, w.Type) {
		w.Type = strings.ReplaceAll(f.want.Types[0], "*", "x")
		w.Json = fmt.Appendf(nil, `{"event_type":%q,"data":{"n":%d},"origin":"LOCAL","time_fired":%q,"context":%s}`, w.Type, n, stamp(), testContext)
		w.Present = false
	}
	return w
}

const testContext = `{"id":"01HQ0000000000000000000000","parent_id":null,"user_id":null}`

func stamp() string { return time.Now().UTC().Format("2006-01-02T15:04:05.000000+00:00") }

func (f *watchedFollow) gap(from uint64, reason string) *wire.Happening {
	return &wire.Happening{Id: fmt.Sprintf("%s-%d", testEpoch, f.seq), Gap: &wire.Gap{From: from, To: f.seq, Reason: reason}}
}

// entity returns an id that the follow asks for.
func (f *watchedFollow) entity() string {
	domain := "sensor"
	if len(f.want.Domains) > 0 {
		domain = strings.ReplaceAll(f.want.Domains[0], "*", "x")
	}
	for _, p := range f.want.Entities {
		if own, object, dotted := strings.Cut(p, "."); dotted && (len(f.want.Domains) == 0 || own == domain || own == "*") {
			if own == "*" {
				own = domain
			}
			return strings.ReplaceAll(own+"."+object, "*", "x")
		}
	}
	return domain + ".conformance"
}

func (f *watchedFollow) state(n int) string {
	long := ""
	if n%100 == 99 {
		long = strings.Repeat("x", 10<<10)
	}
	return fmt.Sprintf(`{"entity_id":%q,"state":"%d","attributes":{"friendly_name":"Test","long":%q},"last_changed":%q,"last_reported":%q,"last_updated":%q,"context":%s}`,
		f.entity(), n, long, stamp(), stamp(), stamp(), testContext)
}

func taken(names []string, name string) bool {
	for _, n := range names {
		if n == name || n == "*" || strings.HasSuffix(n, "*") && strings.HasPrefix(name, strings.TrimSuffix(n, "*")) {
			return true
		}
	}
	return false
}

// checkFollows tells an adapter that follows more than it can have at once: it must
// give credit back for what it takes, and no more, and end all the same.
func (tr *trial) checkFollows() {
	s := tr.open(roomy(), false)
	if s == nil || !s.ready() || !s.followsSoon() {
		return
	}
	s.flood()
	tr.until("giving back the credit of the events that it was told", func() bool {
		s.mu.Lock()
		defer s.mu.Unlock()
		for _, f := range s.follows {
			if f.back == 0 {
				return false
			}
		}
		return true
	})
	tr.checkHealth()
	tr.drainNow(s)
}

// followsSoon waits a while for a follow: an adapter may have none.
func (s *watchedSession) followsSoon() bool {
	for end := time.Now().Add(300 * time.Millisecond); time.Now().Before(end); <-time.After(time.Millisecond) {
		s.mu.Lock()
		n := len(s.follows)
		s.mu.Unlock()
		if n > 0 {
			return true
		}
	}
	return false
}

// flood tells as much as there is credit for, from now on.
func (s *watchedSession) flood() {
	s.mu.Lock()
	s.flooding = true
	told := s.told()
	s.mu.Unlock()
	for _, m := range told {
		s.send(m)
	}
}
