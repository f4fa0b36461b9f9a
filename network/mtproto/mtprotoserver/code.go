package mtprotoserver

import (
	"context"
	"crypto/subtle"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/network/mtproto/wire"
	"github.com/quinta-chat/quinta/server"
	"github.com/quinta-chat/quinta/server/account"
	"github.com/quinta-chat/quinta/server/db"
)

const (
	// codeLength is the number of digits of a login code, codeLife how long it is
	// good in milliseconds, and codeTries how often it may be tried.
	codeLength = 5
	codeLife   = 5 * 60 * 1000
	codeTries  = 5
	// maxFixed is the most digits that a fixed code has.
	maxFixed = 20
)

// Codes are sealed for these uses.
const (
	sealedCode   = "code of "
	sealedFixed  = "fixed code of "
	sealedNotice = "notice for "
)

// newCode draws a code.
func newCode(rand io.Reader) (string, error) {
	var raw [8]byte
	if _, err := io.ReadFull(rand, raw[:]); err != nil {
		return "", fmt.Errorf("mtproto: drawing a login code: %w", err)
	}
	// 2^64 is so much larger than the number of codes that the remainder has no
	// bias worth naming.
	return fmt.Sprintf("%0*d", codeLength, binary.BigEndian.Uint64(raw[:])%100_000), nil
}

// An asked is a code that is requested now.
type asked struct {
	code    string
	tries   int64
	expires int64
}

// askedFor returns the code of a number, or nil if none is requested.
func (s *secrets) askedFor(tx *db.Tx, phone string) (*asked, error) {
	var a asked
	var sealed []byte
	err := tx.Row(`SELECT sealed, tries, expires FROM mtproto_code WHERE phone = $1 AND expires > $2`, phone, tx.Millis()).Scan(&sealed, &a.tries, &a.expires)
	if errors.Is(err, db.ErrNoRows) {
		return nil, nil
	} else if err != nil {
		return nil, err
	}
	plain, err := s.openText(sealedCode+phone, sealed)
	a.code = string(plain)
	return &a, err
}

// fixedOf is the permanent code of an account, or "" if it has none.
func (s *secrets) fixedOf(tx *db.Tx, who account.Name) (string, error) {
	var sealed []byte
	err := tx.Row(`SELECT sealed FROM mtproto_fixed WHERE account = $1`, who).Scan(&sealed)
	if errors.Is(err, db.ErrNoRows) {
		return "", nil
	} else if err != nil {
		return "", err
	}
	plain, err := s.openText(sealedFixed+string(who), sealed)
	return string(plain), err
}

// askCode makes a code for a number, unless one was already requested: asking
// again gives no more attempts. The other devices of the account are
// notified.
func (c *call) askCode(phone string) error {
	if a, err := c.sec.askedFor(c.tx, phone); err != nil || a != nil {
		return err
	}
	code, err := newCode(c.s.Rand)
	if err != nil {
		return err
	}
	sealed, err := c.sec.sealText(c.s.Rand, sealedCode+phone, []byte(code))
	if err != nil {
		return err
	}
	if err := c.tx.Queue(`INSERT INTO mtproto_code (phone, sealed, tries, expires) VALUES ($1, $2, $3, $4)
		ON CONFLICT (phone) DO UPDATE SET sealed = excluded.sealed, tries = excluded.tries, expires = excluded.expires`, phone, sealed, codeTries, c.tx.Millis()+codeLife); err != nil {
		return err
	}
	who, err := byPhone(c.tx, phone)
	if err != nil || who == "" {
		return err
	}
	keys, err := devicesOf(c.tx, who)
	if err != nil {
		return err
	}
	for _, key := range keys {
		if err := c.notify(key, fmt.Sprintf("Login code: %s. Someone is logging in to your account on another device. If it is not you, do not give the code to anyone.", code)); err != nil {
			return err
		}
	}
	return nil
}

// useCode tries a code for a number that who has, or no one. The right one is
// used up. A refusal is the answer of the call and not an error, so that the
// try is kept.
func (c *call) useCode(phone string, who account.Name, code string) (refused *wire.RPCError, err error) {
	a, err := c.sec.askedFor(c.tx, phone)
	switch {
	case err != nil:
		return nil, err
	case a == nil:
		return rpcError(400, "PHONE_CODE_EXPIRED"), nil
	case a.tries <= 0:
		return nil, flood(time.Duration(a.expires-c.tx.Millis()) * time.Millisecond)
	}
	fixed, err := c.sec.fixedOf(c.tx, who)
	if err != nil {
		return nil, err
	}
	right := subtle.ConstantTimeCompare([]byte(code), []byte(a.code)) | subtle.ConstantTimeCompare([]byte(code), []byte(fixed))
	if right != 1 || who == "" || code == "" {
		return rpcError(400, "PHONE_CODE_INVALID"), c.tx.Queue(`UPDATE mtproto_code SET tries = tries - 1 WHERE phone = $1`, phone)
	}
	return nil, c.tx.Queue(`DELETE FROM mtproto_code WHERE phone = $1`, phone)
}

// commandCode shows the code that is requested now, or fixes one.
func commandCode(ctx context.Context, s *mtprotoServer, in server.CommandInput) (out string, err error) {
	sec, err := s.secrets(ctx)
	if err != nil {
		return "", err
	}
	err = s.Update(ctx, func(tx *db.Tx) error {
		who, err := existing(tx, in.Args[0])
		if err != nil {
			return err
		}
		if fix := in.Flags["fix"]; fix != "" {
			out, err = s.fix(tx, sec, who, fix)
			return err
		}
		phone, err := phoneOf(tx, who)
		if err != nil {
			return err
		}
		a, err := sec.askedFor(tx, phone)
		if err != nil {
			return err
		}
		if a == nil {
			return quinta.E(quinta.KindNotFound, "mtproto", "no login code has been requested: let the user start the login first")
		}
		out = a.code + "\n"
		return nil
	})
	return out, err
}

// fix gives an account a permanent code, or removes it.
func (s *mtprotoServer) fix(tx *db.Tx, sec *secrets, who account.Name, code string) (string, error) {
	if code == "none" {
		return "the fixed login code was removed\n", tx.Queue(`DELETE FROM mtproto_fixed WHERE account = $1`, who)
	}
	if digitsOf(code) != code || len(code) < codeLength || len(code) > maxFixed {
		return "", quinta.E(quinta.KindInvalid, "mtproto", fmt.Sprintf("a login code has %d to %d digits", codeLength, maxFixed))
	}
	sealed, err := sec.sealText(s.Rand, sealedFixed+string(who), []byte(code))
	if err != nil {
		return "", err
	}
	return code + "\n", tx.Queue(`INSERT INTO mtproto_fixed (account, sealed) VALUES ($1, $2) ON CONFLICT (account) DO UPDATE SET sealed = excluded.sealed`, who, sealed)
}

// Run warns about accounts with a permanent code, since anyone who knows such a
// code can log in.
func (s *mtprotoServer) Run(ctx context.Context) error {
	var names []string
	if err := s.View(ctx, func(tx *db.Tx) error {
		for row, err := range tx.Query(`SELECT account FROM mtproto_fixed ORDER BY account`) {
			if err != nil {
				return err
			}
			var who string
			if err := row.Scan(&who); err != nil {
				return err
			}
			names = append(names, who)
		}
		return nil
	}); err != nil {
		return err
	}
	for _, who := range names {
		s.Log.Warn("mtproto: an account has a permanent login code", "account", who)
	}
	<-ctx.Done()
	return nil
}
