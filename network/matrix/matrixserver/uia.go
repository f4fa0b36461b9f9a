package matrixserver

import (
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/network/internal/incoming"
	"github.com/quinta-chat/quinta/network/matrix/wire"
	"github.com/quinta-chat/quinta/server"
	"github.com/quinta-chat/quinta/server/account"
	"github.com/quinta-chat/quinta/server/db"
)

// uiaLife is how long an unfinished session is kept, in milliseconds.
const uiaLife = 15 * 60 * 1000

// interact carries out user-interactive authentication (client-server API,
// "User-Interactive Authentication API") with one flow of the stages given.
// It returns nil when the caller may proceed; else the 401 or 403 that the
// client gets. operation names exactly what is being allowed: a session that
// was begun for another operation or by another user is of no use.
func (c *call) interact(auth *wire.Auth, operation string, stages ...string) error {
	var a wire.Auth
	if auth != nil {
		a = *auth
	}
	if a.Type == "" && a.Session == "" {
		return c.beginUIA(operation, stages)
	}
	var done []string
	if a.Session != "" {
		var err error
		if done, err = c.resumeUIA(a.Session, operation); err != nil {
			return err
		}
	}
	if a.Type != "" {
		if !slices.Contains(stages, a.Type) {
			return wire.NewError(http.StatusBadRequest, wire.CodeUnrecognized, "this type of authentication is not offered here")
		}
		if err := c.stage(a); err != nil {
			we, ok := errors.AsType[*wire.Error](err)
			if !ok || we.Status == http.StatusTooManyRequests {
				return err
			}
			return c.challenge(a.Session, operation, stages, done, we)
		}
		if !slices.Contains(done, a.Type) {
			done = append(done, a.Type)
		}
	}
	for _, s := range stages {
		if !slices.Contains(done, s) {
			return c.challenge(a.Session, operation, stages, done, nil)
		}
	}
	if a.Session == "" {
		return nil
	}
	return c.Update(c.ctx(), func(tx *db.Tx) error {
		return tx.Queue(`DELETE FROM matrix_uia WHERE session = $1`, a.Session)
	})
}

// stage checks one stage.
func (c *call) stage(a wire.Auth) error {
	switch a.Type {
	case wire.StageDummy:
		return nil
	case wire.StagePassword:
		user := a.Identifier.User
		if user == "" {
			user = a.User
		}
		name := c.loginName(user)
		if user == "" {
			name = c.account()
		}
		if name != c.account() {
			return wire.NewError(http.StatusForbidden, wire.CodeForbidden, "the user name or the password is wrong")
		}
		return c.checkPassword(incoming.Self(server.ByDevice(network, c.user, c.device)), name, a.Password)
	case wire.StageToken:
		if err := limited(c.Limits.Allow("register", server.ByAddr(c.addr()), server.RateRegister, 1)); err != nil {
			return err
		}
		ok := false
		err := c.View(c.ctx(), func(tx *db.Tx) (err error) {
			ok, err = account.ValidInvite(tx, a.Token)
			return err
		})
		if err == nil && !ok {
			err = wire.NewError(http.StatusForbidden, wire.CodeForbidden, "the registration token is not valid")
		}
		return err
	}
	return wire.NewError(http.StatusBadRequest, wire.CodeUnrecognized, "this type of authentication is not offered here")
}

// resumeUIA returns the completed stages of a session.
func (c *call) resumeUIA(session, operation string) ([]string, error) {
	var stages string
	err := c.View(c.ctx(), func(tx *db.Tx) error {
		return tx.Row(`SELECT stages FROM matrix_uia WHERE session = $1 AND user_id = $2 AND operation = $3 AND expires > $4`,
			session, c.user, operation, tx.Millis()).Scan(&stages)
	})
	if errors.Is(err, db.ErrNoRows) {
		return nil, wire.NewError(http.StatusForbidden, wire.CodeForbidden, "the authentication session is unknown, has expired, or was begun for another operation")
	}
	return strings.Fields(stages), err
}

func (c *call) beginUIA(operation string, stages []string) error {
	return c.challenge("", operation, stages, nil, nil)
}

// rateUIA bounds the sessions that an address without a token, or a user, begins:
// each is a row until it expires.
var rateUIA = server.Rate{Every: 10 * time.Second, Burst: 30}

// challenge keeps what is done and returns the 401 that says what is left.
func (c *call) challenge(session, operation string, stages, done []string, cause *wire.Error) error {
	if session == "" {
		who := server.ByAddr(c.addr())
		if c.user != "" {
			who = server.ByUser(network, c.user)
		}
		if err := limited(c.Limits.Allow("uia", who, rateUIA, 1)); err != nil {
			return err
		}
		raw := make([]byte, 18)
		if _, err := io.ReadFull(c.Rand, raw); err != nil {
			return fmt.Errorf("making a session id: %w", err)
		}
		session = base64.RawURLEncoding.EncodeToString(raw)
	}
	if err := c.Update(c.ctx(), func(tx *db.Tx) error { return saveUIA(tx, session, c.user, operation, done) }); err != nil {
		return err
	}
	ask := wire.Challenge{Flows: []wire.Flow{{Stages: stages}}, Session: session, Completed: done}
	return ask.Error(cause)
}

func saveUIA(tx *db.Tx, session string, user quinta.UserID, operation string, done []string) error {
	if err := tx.Queue(`DELETE FROM matrix_uia WHERE expires <= $1`, tx.Millis()); err != nil {
		return err
	}
	return tx.Queue(`INSERT INTO matrix_uia (session, user_id, operation, stages, expires) VALUES ($1, $2, $3, $4, $5)
		ON CONFLICT (session) DO UPDATE SET stages = excluded.stages`,
		session, user, operation, strings.Join(done, " "), tx.Millis()+uiaLife)
}
