package mtprotoserver

import (
	"errors"
	"io"
	"time"

	"github.com/quinta-chat/quinta/e2ee/secretchat"
	"github.com/quinta-chat/quinta/network/internal/incoming"
	"github.com/quinta-chat/quinta/network/mtproto/wire"
	"github.com/quinta-chat/quinta/server/account"
	"github.com/quinta-chat/quinta/server/db"
)

const (
	// pendingFor is how long a device has for the password once its code was
	// right, in milliseconds, and challengeFor how long one question for it is
	// good.
	pendingFor   = 10 * 60 * 1000
	challengeFor = 5 * time.Minute
	// maxChallenges bounds the questions for passwords that are open.
	maxChallenges = 10_000
	// maxHint bounds the hint at a password in bytes.
	maxHint = 200
	// sealedVerifier is the use of verifiers.
	sealedVerifier = "password verifier of "
)

// A password is the row of an account.
type password struct {
	srp      *wire.SRP
	verifier []byte
	hint     string
}

// passwordOf is the two-step password of an account, nil if it has none.
func (c *call) passwordOf(who account.Name) (*password, error) {
	var p password
	var salt1, salt2, sealed []byte
	err := c.tx.Row(`SELECT salt1, salt2, verifier, hint FROM mtproto_password WHERE account = $1`, who).Scan(&salt1, &salt2, &sealed, &p.hint)
	if errors.Is(err, db.ErrNoRows) {
		return nil, nil
	} else if err != nil {
		return nil, err
	}
	if p.verifier, err = c.sec.openText(sealedVerifier+string(who), sealed); err != nil {
		return nil, err
	}
	p.srp, err = wire.NewSRP(c.s.group, salt1, salt2)
	return &p, err
}

// A challenge is one question for the password of an account.
type challenge struct {
	id             int64
	who            account.Name
	secret, public []byte
}

// pendingAccount is the account whose password the device still has to give, ""
// if there is none.
func (c *call) pendingAccount() (account.Name, error) {
	var who *string
	err := c.tx.Row(`SELECT pending FROM mtproto_device WHERE key_id = $1 AND pending_until > $2`, c.keyID, c.tx.Millis()).Scan(&who)
	if errors.Is(err, db.ErrNoRows) || err == nil && who == nil {
		return "", nil
	} else if err != nil {
		return "", err
	}
	return account.Name(*who), nil
}

// owner is the account whose password is spoken of: that of the device, or the
// one that it is logging in to.
func (c *call) owner() (account.Name, error) {
	if c.who != "" {
		return c.who, nil
	}
	who, err := c.pendingAccount()
	if err == nil && who == "" {
		err = refuse(401, "AUTH_KEY_UNREGISTERED")
	}
	return who, err
}

// getPassword asks for the password, and offers salts for a new one. The
// device's earlier question is void with that.
func getPassword(c *call, _ *wire.GetPassword) (any, error) {
	who, err := c.owner()
	if err != nil {
		return nil, err
	}
	random := make([]byte, 256+8+16)
	if _, err := io.ReadFull(c.s.Rand, random); err != nil {
		return nil, err
	}
	offer, err := wire.NewSRP(c.s.group, random[256:264], random[264:])
	if err != nil {
		return nil, err
	}
	out := &wire.AccountPassword{NewAlgo: offer.Algo(), NewSecureAlgo: &wire.SecurePasswordKdfAlgoUnknown{}, SecureRandom: random[:256]}
	p, err := c.passwordOf(who)
	if err != nil || p == nil {
		return out, err
	}
	id, err := c.s.randomID()
	if err != nil {
		return nil, err
	}
	q := challenge{id: id, who: who}
	if q.secret, q.public, err = p.srp.Challenge(c.s.Rand, p.verifier); err != nil {
		return nil, err
	}
	c.s.challenges.put(c.keyID, q, c.s.Now())
	out.HasPassword, out.CurrentAlgo, out.SRPB, out.SRPID, out.Hint = true, p.srp.Algo(), q.public, q.id, p.hint
	return out, nil
}

// proves tries a password; a refusal is the answer of the call. Each question
// can be answered once.
func (c *call) proves(who account.Name, p *password, in any) (refused *wire.RPCError, err error) {
	r, ok := in.(*wire.InputCheckPasswordSRP)
	if !ok {
		return rpcError(400, "PASSWORD_HASH_INVALID"), nil
	}
	by := incoming.Stranger(c.addr)
	if c.who != "" {
		by = incoming.Self(c.byKey())
	}
	try, wait := incoming.NewTry(c.s.Core, by, who)
	if wait > 0 {
		return nil, flood(wait)
	}
	q, ok := c.s.challenges.take(c.keyID, c.s.Now())
	if !ok || q.id != r.SRPID || q.who != who {
		try.Right() // nothing was tried
		return rpcError(400, "SRP_ID_INVALID"), nil
	}
	right, err := p.srp.Verify(p.verifier, q.secret, q.public, r.A, r.M1)
	if err != nil || !right {
		return rpcError(400, "PASSWORD_HASH_INVALID"), nil
	}
	try.Right()
	return nil, nil
}

// checkPassword ends the login of a device whose code was right.
func checkPassword(c *call, r *wire.CheckPassword) (any, error) {
	if c.who != "" {
		return c.authorization() // the first answer was lost
	}
	who, err := c.owner()
	if err != nil {
		return nil, err
	}
	p, err := c.passwordOf(who)
	if err != nil {
		return nil, err
	}
	if p == nil { // removed since: see removePassword
		return nil, refuse(401, "AUTH_KEY_UNREGISTERED")
	}
	if refused, err := c.proves(who, p, r.Password); err != nil {
		return nil, err
	} else if refused != nil {
		return refused, nil
	}
	return c.enter(who)
}

// updatePasswordSettings sets, changes or removes the password of the user.
func updatePasswordSettings(c *call, r *wire.UpdatePasswordSettings) (any, error) {
	p, err := c.passwordOf(c.who)
	if err != nil {
		return nil, err
	}
	if p != nil {
		if refused, err := c.proves(c.who, p, r.Password); err != nil {
			return nil, err
		} else if refused != nil {
			return refused, nil
		}
	}
	s, ok := r.NewSettings.(*wire.PasswordInputSettings)
	if !ok {
		return nil, refuse(400, "NEW_SETTINGS_EMPTY")
	}
	switch algo := s.NewAlgo.(type) {
	case *wire.PasswordKdfAlgoUnknown:
		return true, removePassword(c.tx, c.who)
	case *wire.PasswordKdfAlgo:
		return true, c.setPassword(algo, s.NewPasswordHash, s.Hint)
	}
	return nil, refuse(400, "NEW_SETTINGS_INVALID")
}

// removePassword removes the password of an account. A device that waits for it
// has to ask for a code again.
func removePassword(tx *db.Tx, who account.Name) error {
	if err := endPending(tx, who); err != nil {
		return err
	}
	return tx.Queue(`DELETE FROM mtproto_password WHERE account = $1`, who)
}

// endPending ends the logins to an account that wait for its password.
func endPending(tx *db.Tx, who account.Name) error {
	return tx.Queue(`UPDATE mtproto_device SET pending = NULL, pending_until = 0 WHERE pending = $1`, who)
}

// setPassword keeps the verifier of a new password, and its hint.
func (c *call) setPassword(algo *wire.PasswordKdfAlgo, verifier []byte, hint string) error {
	srp, err := wire.NewSRP(c.s.group, algo.Salt1, algo.Salt2)
	if err != nil || int(algo.G) != c.s.group.G() || string(algo.P) != string(c.s.group.P()) {
		return refuse(400, "NEW_SALT_INVALID")
	}
	if len(verifier) != secretchat.Size || srp.CheckVerifier(verifier) != nil {
		return refuse(400, "NEW_SETTINGS_INVALID")
	}
	if len(hint) > maxHint {
		return refuse(400, "NEW_SETTINGS_INVALID")
	}
	sealed, err := c.sec.sealText(c.s.Rand, sealedVerifier+string(c.who), verifier)
	if err != nil {
		return err
	}
	return c.tx.Queue(`INSERT INTO mtproto_password (account, salt1, salt2, verifier, hint) VALUES ($1, $2, $3, $4, $5)
		ON CONFLICT (account) DO UPDATE SET salt1 = excluded.salt1, salt2 = excluded.salt2, verifier = excluded.verifier, hint = excluded.hint`,
		c.who, algo.Salt1, algo.Salt2, sealed, toValid(hint))
}
