package matrixclient

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"strings"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/internal/printable"
	"github.com/quinta-chat/quinta/network/matrix/wire"
)

// maxStages is more than any authentication has.
const maxStages = 10

// An interaction is a call that the server may want an authentication for.
type interaction struct {
	request
	// body returns the body of the request, with what completes a stage in it;
	// nil at first.
	body func(*wire.Auth) any
	// with returns what completes a stage, or nil if it cannot be completed.
	with func(stage string) *wire.Auth
}

// interact carries a call through user-interactive authentication, and reads
// its answer into out, if that is not nil.
func (c *conn) interact(ctx context.Context, op string, q interaction, out any) error {
	var auth *wire.Auth
	for range maxStages {
		b, err := json.Marshal(q.body(auth))
		if err != nil {
			return &quinta.Error{Kind: quinta.KindInvalid, Op: op, Err: err}
		}
		q.request.body = b
		a, err := c.call(ctx, op, q.request)
		clear(b)
		if err == nil {
			if out == nil {
				return nil
			}
			return a.decode(op, out)
		}
		we, ok := errors.AsType[*wire.Error](err)
		if !ok {
			return err
		}
		ask, malformed := wire.ChallengeOf(we)
		switch {
		case malformed != nil:
			return quinta.E(quinta.KindMalformed, op, "the server asks for an authentication that is malformed")
		case ask == nil:
			return err
		case auth != nil && we.Code != "":
			return &quinta.Error{Kind: quinta.KindUnauthenticated, Op: op, Err: we} // this stage was refused
		}
		if auth, err = nextStage(op, ask, q.with); err != nil {
			return err
		}
	}
	return quinta.E(quinta.KindUnauthenticated, op, "the server keeps asking further questions")
}

// nextStage chooses a flow all of whose stages can be completed, and returns
// what completes the next one.
func nextStage(op string, ask *wire.Challenge, with func(string) *wire.Auth) (*wire.Auth, error) {
	var wanted []string
	for _, f := range ask.Flows {
		var auth *wire.Auth
		possible := true
		for _, s := range f.Stages {
			if slices.Contains(ask.Completed, s) {
				continue
			}
			a := with(s)
			if a == nil {
				possible = false
				break
			}
			if auth == nil {
				auth = a
				auth.Type, auth.Session = s, ask.Session
			}
		}
		if possible && auth != nil {
			return auth, nil
		}
		wanted = append(wanted, printable.Line(strings.Join(f.Stages, " and ")))
	}
	return nil, quinta.E(quinta.KindUnauthenticated, op, "the server asks for "+strings.Join(wanted[:min(len(wanted), 5)], ", or "))
}
