package matrixclient

import (
	"context"
	"encoding/json"
	"errors"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/client"
	"github.com/quinta-chat/quinta/e2ee"
	"github.com/quinta-chat/quinta/e2ee/matrix"
	"github.com/quinta-chat/quinta/internal/printable"
	"github.com/quinta-chat/quinta/network/internal/dial"
	"github.com/quinta-chat/quinta/network/matrix/wire"
)

var _ client.IdentityKeeper = (*Session)(nil)

// Identity implements client.IdentityKeeper. It asks the server again.
func (s *Session) Identity(ctx context.Context) (client.IdentityInfo, error) {
	if err := s.refresh(ctx, s.account.User); err != nil {
		return client.IdentityInfo{}, err
	}
	var out client.IdentityInfo
	err := s.look(ctx, func(tx e2ee.Tx) error {
		id, err := s.machine.UserIdentity(tx, s.account.User)
		if err != nil {
			return err
		}
		c, err := s.machine.CrossSigning(tx)
		out = client.IdentityInfo{
			Exists: !id.Master.IsZero(), Trusted: id.Verified && !id.Changed, Changed: id.Changed, SignsThis: id.SignsThis,
			Complete: complete(c) && c.Master.Public() == id.Master,
		}
		if out.Exists {
			out.Fingerprint = printable.Grouped(id.Master.String())
		}
		return err
	})
	return out, err
}

func complete(c matrix.CrossSigning) bool {
	return !c.Master.IsZero() && !c.SelfSigning.IsZero() && !c.UserSigning.IsZero()
}

// CreateIdentity implements client.IdentityKeeper.
func (s *Session) CreateIdentity(ctx context.Context, password client.Secret) error {
	return s.publishIdentity(ctx, "making an identity", password, s.machine.CreateCrossSigning)
}

// ResetIdentity implements client.IdentityKeeper.
func (s *Session) ResetIdentity(ctx context.Context, password client.Secret) error {
	return s.publishIdentity(ctx, "replacing the identity", password, s.machine.ReplaceCrossSigning)
}

// publishIdentity has keys made and uploaded, and returns when this device is
// signed with them. The request for them is in the store: what is interrupted
// continues when the session runs.
func (s *Session) publishIdentity(ctx context.Context, op string, password client.Secret, create func(tx e2ee.Tx) error) error {
	f, err := s.link.features(ctx)
	if err != nil {
		return err
	}
	if f.legacy {
		return quinta.E(quinta.KindInvalid, op, "the server is too old: it has no cross-signing")
	}
	if err := s.refresh(ctx, s.account.User); err != nil {
		return err
	}
	with := s.withPassword(password)
	s.link.prove.Store(&proof{with: with})
	defer s.link.prove.Store(nil)
	err = s.st.Update(ctx, create)
	if errors.Is(err, matrix.ErrHaveIdentity) {
		return quinta.E(quinta.KindExists, op, "the account already has an identity: verify this device or unlock secret storage")
	}
	if err != nil {
		return err
	}
	s.runner.Wake()
	if err := s.runner.Wait(ctx, op, func(tx e2ee.Tx) (bool, error) {
		pending, err := s.machine.CrossSigningPending(tx)
		return !pending, err
	}); err != nil {
		return err
	}
	if p := s.link.prove.Load(); p != nil && p.refused != nil {
		return &quinta.Error{Kind: quinta.KindOf(p.refused), Op: op, Err: p.refused}
	}
	return s.settle(ctx, op)
}

// settle waits until the signatures that this device made are on the server,
// and are seen there.
func (s *Session) settle(ctx context.Context, op string) error {
	s.runner.Wake()
	return s.runner.Wait(ctx, op, func(tx e2ee.Tx) (bool, error) {
		waits, err := s.machine.Signing(tx)
		if err != nil || waits {
			return false, err
		}
		return s.machine.Current(tx, s.account.User)
	})
}

// A proof is how users prove who they are while their identity is uploaded, and
// why the server did not take it.
type proof struct {
	with    func(stage string) *wire.Auth
	refused error
}

// uploadIdentity carries out the upload of cross-signing keys: the server may
// want the password with it. Without one at hand that is a refusal.
func (l *link) uploadIdentity(ctx context.Context, op string, req matrix.Req) (matrix.Ans, error) {
	var keys map[string]json.RawMessage
	if err := json.Unmarshal(req.Body, &keys); err != nil {
		return matrix.Ans{}, &quinta.Error{Kind: quinta.KindInternal, Op: op, Err: err}
	}
	// The keys go out as the machine wrote them.
	all := map[string]any{}
	for name, raw := range keys {
		all[name] = raw
	}
	body := func(a *wire.Auth) any {
		if a != nil {
			all["auth"] = a
		}
		return all
	}
	p := l.prove.Load()
	with := func(string) *wire.Auth { return nil }
	if p != nil {
		with = p.with
	}
	err := l.interact(ctx, op, interaction{request: request{method: req.Method, path: req.Path}, body: body, with: with}, nil)
	if err == nil {
		return matrix.Ans{Body: []byte("{}")}, nil
	}
	we, answered := errors.AsType[*wire.Error](err)
	k := quinta.KindOf(err)
	switch {
	case k == quinta.KindUnavailable || k == quinta.KindLimited || !answered && k != quinta.KindUnauthenticated && k != quinta.KindMalformed:
		return matrix.Ans{}, dial.Passing(err, quinta.KindTooLarge)
	case answered && (we.Code == wire.CodeUnknownToken || we.Code == wire.CodeMissingToken):
		return matrix.Ans{}, err
	}
	out := matrix.Ans{Failure: matrix.Refused}
	if answered {
		out.Code = string(we.Code)
	}
	if p != nil {
		l.prove.CompareAndSwap(p, &proof{with: p.with, refused: err})
	}
	return out, nil
}
