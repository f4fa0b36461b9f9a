package caserver

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/e2ee/ca/cert"
	"github.com/quinta-chat/quinta/network/ca/wire"
	"github.com/quinta-chat/quinta/network/internal/incoming"
	"github.com/quinta-chat/quinta/server"
	"github.com/quinta-chat/quinta/server/account"
	"github.com/quinta-chat/quinta/server/db"
	"github.com/quinta-chat/quinta/server/device"
)

func (s *caServer) loginCalls() {
	s.at(http.MethodPost, wire.PathLogin, endpoint{open: true, rate: server.RateLogin, body: maxOpenBody, handle: (*call).postLogin})
	s.at(http.MethodPost, wire.PathLogout, endpoint{rate: rateKeys, body: maxBody, handle: (*call).postLogout})
}

// loginName turns what a person typed, "alice" or "alice@domain", into an
// account name; "" if it can be none of this network's.
func (s *caServer) loginName(user string) account.Name {
	name := account.Name(strings.ToLower(user))
	if strings.ContainsRune(user, '@') {
		name = s.accountOf(quinta.UserID(strings.ToLower(user)))
	}
	if !certifiable(name, s.domain) {
		return ""
	}
	return name
}

func (c *call) postLogin() (any, error) {
	var q wire.LoginRequest
	if err := c.decode(&q); err != nil {
		return nil, err
	}
	if err := c.nameDevice(&q); err != nil {
		return nil, err
	}
	name := c.loginName(q.Username)
	if err := c.checkPassword(incoming.Stranger(c.addr()), name, q.Password); err != nil {
		return nil, err
	}
	return c.openDevice(name, q.Device, q.DeviceName, func(*db.Tx) error { return nil })
}

// nameDevice gives the device of a request an id, if it has none yet.
func (c *call) nameDevice(q *wire.LoginRequest) error {
	if len(q.DeviceName) > 255 {
		return invalid("the name of the device is too long")
	}
	if q.Device != "" {
		return nil
	}
	id, err := newDeviceID(c.Rand)
	q.Device = id
	return err
}

// openDevice gives the account a device, new or known, with one new token.
// What first does is committed with it.
func (c *call) openDevice(name account.Name, dev quinta.DeviceID, display string, first func(*db.Tx) error) (*wire.LoginAnswer, error) {
	a := &wire.LoginAnswer{Username: c.userOf(name), Device: dev, Domain: c.domain}
	if err := (cert.Identity{User: a.Username, Device: dev, Use: cert.UseSign}).Check(); err != nil {
		return nil, err
	}
	err := c.Update(c.ctx(), func(tx *db.Tx) (err error) {
		if err := first(tx); err != nil {
			return err
		}
		if there, err := account.Exists(tx, name); err != nil || !there {
			return errOr(err, errToken)
		}
		if a.New, err = device.Put(tx, network, a.Username, dev, &display); err != nil {
			return err
		}
		if !a.New {
			if err := device.RevokeTokens(tx, network, a.Username, dev); err != nil {
				return err
			}
		}
		if a.Token, err = device.NewToken(tx, c.Rand, network, a.Username, dev); err != nil {
			return err
		}
		if a.Delivered, err = delivered(tx, a.Username); err != nil {
			return err
		}
		a.Pos, err = tx.Pos()
		return err
	})
	return a, err
}

// errOr returns err, or other if it is nil.
func errOr(err, other error) error {
	if err != nil {
		return err
	}
	return other
}

// newDeviceID returns twelve random letters and digits.
func newDeviceID(r io.Reader) (quinta.DeviceID, error) {
	const letters = "ABCDEFGHJKMNPQRSTUVWXYZ023456789" // 32: no bias
	raw := make([]byte, 12)
	if _, err := io.ReadFull(r, raw); err != nil {
		return "", fmt.Errorf("making a device id: %w", err)
	}
	for i, b := range raw {
		raw[i] = letters[b%32]
	}
	return quinta.DeviceID(raw), nil
}

func (c *call) postLogout() (any, error) {
	if err := c.decode(&wire.LogoutRequest{}); err != nil {
		return nil, err
	}
	return wire.Empty{}, c.UpdateAlways(c.ctx(), func(tx *db.Tx) error {
		_, err := c.removeDevice(tx, c.user, c.device, cert.ReasonCessation)
		return err
	})
}

func utc(millis int64) time.Time { return time.UnixMilli(millis).UTC() }
