package mtprotoclient

import (
	"context"
	"errors"
	"io"
	"slices"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/client"
	"github.com/quinta-chat/quinta/e2ee/secretchat"
	"github.com/quinta-chat/quinta/internal/printable"
	"github.com/quinta-chat/quinta/network/mtproto/wire"
)

const (
	// needsPassword is the refusal of a right code where a password is set.
	needsPassword = "SESSION_PASSWORD_NEEDED"
	// wrongPassword is the refusal of a password.
	wrongPassword = "PASSWORD_HASH_INVALID"
	// expiredQuestion is the refusal of an answer to an earlier question.
	expiredQuestion = "SRP_ID_INVALID"
	// passwordTries is how often the server is asked for its question: once
	// more when the user took longer than it is valid.
	passwordTries = 2
	// ownSalt is the length in bytes of this device's part of a new salt.
	ownSalt = 32
)

// checkPassword ends a login whose code was right with the two-step password,
// and returns the server's answer. The password itself does not leave the
// device.
func checkPassword(ctx context.Context, c *conn, rand io.Reader, in client.Credentials) (any, error) {
	var password client.Secret
	for try := 1; ; try++ {
		o, err := c.call(ctx, &wire.GetPassword{})
		if err != nil {
			return nil, err
		}
		q, ok := o.(*wire.AccountPassword)
		if !ok {
			return nil, quinta.E(quinta.KindMalformed, loggingIn, "the server's answer is not what this call returns")
		}
		if try == 1 {
			if password, err = askPassword(ctx, q.Hint, in); err != nil {
				return nil, err
			}
		}
		proof, err := prove(rand, q, password)
		if err != nil {
			return nil, err
		}
		o, err = c.call(ctx, &wire.CheckPassword{Password: proof})
		if e, ok := errors.AsType[callError](err); ok && e.Message == expiredQuestion && try < passwordTries {
			continue
		}
		return o, err
	}
}

// askPassword asks the user for the password; the hint is the one that they
// set it with, as the server gives it.
func askPassword(ctx context.Context, hint string, in client.Credentials) (client.Secret, error) {
	text := ""
	if hint != "" {
		text = "your hint: " + printable.Line(hint)
	}
	return in.Answer(ctx, client.Question{Kind: client.AskSecondPassword, Text: text})
}

// prove answers the server's question.
func prove(rand io.Reader, q *wire.AccountPassword, password client.Secret) (*wire.InputCheckPasswordSRP, error) {
	srp, err := srpOf(rand, q.CurrentAlgo, nil)
	if err != nil {
		return nil, err
	}
	a, m1, err := srp.Prove(rand, []byte(password.Reveal()), q.SRPB)
	if errors.Is(err, wire.ErrSRP) {
		return nil, errUnsafe
	}
	return &wire.InputCheckPasswordSRP{SRPID: q.SRPID, A: a, M1: m1}, err
}

var errUnsafe = quinta.E(quinta.KindForbidden, "mtproto", "the server's question for the second password is not safe to answer")

// srpOf reads an algorithm, with more bytes at the end of its first salt. A
// group that is not safe is refused: with it, a server could find the password
// by trial.
func srpOf(rand io.Reader, algo any, more []byte) (*wire.SRP, error) {
	a, ok := algo.(*wire.PasswordKdfAlgo)
	if !ok {
		return nil, quinta.E(quinta.KindInvalid, "mtproto", "the server wants the second password in an unknown form: update Quinta")
	}
	var verdicts secretchat.Verdicts
	group, err := verdicts.Group(rand, int(a.G), a.P)
	if errors.Is(err, secretchat.ErrWeakGroup) {
		return nil, errUnsafe
	} else if err != nil {
		return nil, err
	}
	srp, err := wire.NewSRP(group, append(slices.Clone(a.Salt1), more...), a.Salt2)
	if err != nil {
		return nil, errUnsafe
	}
	return srp, nil
}

// SetSecondPassword sets the two-step password of the account, which logins from
// then on ask for after the code, with a hint that the server shows there. The
// old one is empty if there is none; an empty next one removes it. A wrong old
// password is an error of KindForbidden.
func (s *Session) SetSecondPassword(ctx context.Context, old, next client.Secret, hint string) error {
	const op = "setting the second password"
	o, err := s.call(ctx, &wire.GetPassword{})
	if err != nil {
		return errorOf(op, err)
	}
	q, ok := o.(*wire.AccountPassword)
	if !ok {
		return quinta.E(quinta.KindMalformed, op, "the server's answer is not what this call returns")
	}
	req := &wire.UpdatePasswordSettings{Password: &wire.InputCheckPasswordEmpty{}}
	if q.HasPassword {
		if req.Password, err = prove(s.env.Rand, q, old); err != nil {
			return err
		}
	}
	if req.NewSettings, err = s.newPassword(q, next, hint); err != nil {
		return err
	}
	_, err = s.call(ctx, req)
	if e, ok := errors.AsType[callError](err); ok && e.Message == wrongPassword {
		return quinta.E(quinta.KindForbidden, op, "the old second password is wrong")
	}
	return errorOf(op, err)
}

// newPassword is what a server is told of a new password: salts, of which a part
// is drawn here, and the verifier.
func (s *Session) newPassword(q *wire.AccountPassword, next client.Secret, hint string) (*wire.PasswordInputSettings, error) {
	if next.Empty() {
		return &wire.PasswordInputSettings{NewAlgo: &wire.PasswordKdfAlgoUnknown{}}, nil
	}
	more := make([]byte, ownSalt)
	if _, err := io.ReadFull(s.env.Rand, more); err != nil {
		return nil, err
	}
	srp, err := srpOf(s.env.Rand, q.NewAlgo, more)
	if err != nil {
		return nil, err
	}
	verifier, err := srp.Verifier([]byte(next.Reveal()))
	if err != nil {
		return nil, err
	}
	return &wire.PasswordInputSettings{NewAlgo: srp.Algo(), NewPasswordHash: verifier, Hint: hint}, nil
}
