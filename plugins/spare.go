package plugins

import "context"

// A spare is what is started when what is in service crashes, while the last change of it is
// refused: what ran before goes on, as if nobody had changed anything. It lasts as long as the server.
type spare struct {
	spec    *spec
	program *program // a use of its own
}

// keepSpare keeps what g is made from, unless that is kept already, or gone with g, which may have ended meanwhile.
func (a *adapter) keepSpare(g *generation) {
	if a.spare != nil {
		return
	}
	if held, ok := a.host.copies.hold(g.program); ok {
		a.spare = &spare{spec: g.spec, program: held}
	}
}

func (a *adapter) dropSpare() {
	if a.spare != nil {
		a.spare.program.free()
		a.spare = nil
	}
}

// again starts what is made from the spare.
func (t *transition) again(ctx context.Context, s *spare) outcome {
	held, _ := t.a.host.copies.hold(s.program)
	g, err := t.a.prepareProgram(ctx, s.spec, held)
	if err == nil {
		err = t.open(g, false)
	}
	if err != nil {
		return t.failed(err, nil)
	}
	return outcome{now: g}
}

// takeAgain notes what became of starting the spare.
func (a *adapter) takeAgain(o outcome) {
	switch {
	case o.failure == nil:
		a.inService(o)
	case !o.cancelled:
		a.lose(a.lastSource()) // who spoke for them last
		a.crashed(o.failure, o.number)
	}
}
