package main

import (
	"slices"
	"strings"
)

// routes know which inputs a message is for.
type routes struct {
	exact map[string][]*input
	wild  map[string][]*input // by filters with wildcards, of which there are few
}

// add adds the inputs of an entity, and returns its topics.
func (r *routes) add(e *entity) (topics []string) {
	if r.exact == nil {
		r.exact, r.wild = map[string][]*input{}, map[string][]*input{}
	}
	for _, in := range e.inputs {
		m := r.kind(in.topic)
		m[in.topic] = append(m[in.topic], in)
		if !slices.Contains(topics, in.topic) {
			topics = append(topics, in.topic)
		}
	}
	return topics
}

func (r *routes) kind(topic string) map[string][]*input {
	if strings.ContainsAny(topic, "+#") {
		return r.wild
	}
	return r.exact
}

// remove takes the inputs of an entity out, and returns the topics that nobody listens
// to any more.
func (r *routes) remove(e *entity) (unused []string) {
	for _, in := range e.inputs {
		m := r.kind(in.topic)
		before := m[in.topic]
		rest := slices.DeleteFunc(slices.Clone(before), func(other *input) bool { return other.e == e })
		switch {
		case len(rest) > 0:
			m[in.topic] = rest
		case len(before) > 0:
			delete(m, in.topic)
			unused = append(unused, in.topic)
		}
	}
	return unused
}

// of returns the inputs that a topic's messages are for.
func (r *routes) of(topic string) []*input {
	exact := r.exact[topic]
	if len(r.wild) == 0 {
		return exact
	}
	all := exact[:len(exact):len(exact)]
	for filter, inputs := range r.wild {
		if topicMatches(filter, topic) {
			all = append(all, inputs...)
		}
	}
	return all
}

// topics returns all that is listened to.
func (r *routes) topics() (all []string) {
	for topic := range r.exact {
		all = append(all, topic)
	}
	for topic := range r.wild {
		all = append(all, topic)
	}
	slices.Sort(all)
	return all
}
