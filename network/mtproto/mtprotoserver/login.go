package mtprotoserver

import (
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"strconv"
	"time"

	"github.com/quinta-chat/quinta/network/internal/incoming"
	"github.com/quinta-chat/quinta/network/mtproto/wire"
	"github.com/quinta-chat/quinta/server"
	"github.com/quinta-chat/quinta/server/account"
	"github.com/quinta-chat/quinta/server/db"
	"github.com/quinta-chat/quinta/server/device"
	"github.com/quinta-chat/quinta/server/feed"
)

// rateResolve is how often one user may look for people.
var rateResolve = server.Rate{Every: 2 * time.Second, Burst: 50}

func getConfig(c *call, _ *wire.GetConfig) (any, error) {
	now := c.s.Now().Unix()
	dc, test := c.dc()
	out := &wire.Config{Date: int32(now), Expires: int32(now + 3600), TestMode: test, ThisDC: int32(dc),
		ChatSizeMax: 2, MegagroupSizeMax: 2, ForwardedCountMax: 100, OnlineUpdatePeriodMs: 210_000, OfflineBlurTimeoutMs: 5_000, OfflineIdleTimeoutMs: 30_000, OnlineCloudTimeoutMs: 300_000,
		NotifyCloudDelayMs: 30_000, NotifyDefaultDelayMs: 1_500, PushChatPeriodMs: 60_000, PushChatLimit: 2, EditTimeLimit: 172_800, RevokeTimeLimit: 1 << 30, RevokePmTimeLimit: 1 << 30,
		RatingEDecay: 2_419_200, StickersRecentLimit: 200, ChannelsReadMediaPeriod: 604_800, CallReceiveTimeoutMs: 20_000, CallRingTimeoutMs: 90_000, CallConnectTimeoutMs: 30_000, CallPacketTimeoutMs: 10_000,
		CaptionLengthMax: 1024, MessageLengthMax: 4096, WebfileDCID: int32(dc)}
	for n := 1; n <= maxDC; n++ {
		o, err := c.option(n)
		if err != nil {
			return nil, err
		}
		out.DCOptions = append(out.DCOptions, o)
	}
	return out, nil
}

// testDC is what a test client adds to the number of a DC.
const testDC = 10_000

// dc is the number that the client named, or that of the setting.
func (c *conn) dc() (n int, test bool) {
	n = max(c.named, -c.named) // negative: a connection for media
	if test = n > testDC; test {
		n -= testDC
	}
	if n < 1 || n > maxDC {
		n = c.s.dc
	}
	return n, test
}

// option is the address that clients are told for a DC.
func (c *conn) option(n int) (*wire.DCOption, error) {
	addr := c.s.announce[n]
	if addr == "" {
		addr = c.s.announce[0]
	}
	if addr == "" {
		addr = c.local.String()
	}
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return nil, err
	}
	p, err := strconv.Atoi(port)
	if err != nil {
		return nil, err
	}
	ip := net.ParseIP(host)
	return &wire.DCOption{ID: int32(n), IPAddress: host, Port: int32(p), IPv6: ip != nil && ip.To4() == nil, ThisPortOnly: true}, nil
}

// codeHash is the phone_code_hash of a number and a device. It proves nothing
// but that the device asked for a code; it is the same for a number that no one
// has.
func (c *call) codeHash(phone string) string {
	return hex.EncodeToString(c.sec.derive("code", fmt.Appendf(nil, "%d %s", c.keyID, phone)))[:24]
}

// sendCode makes a code, which the operator reads out and the other devices of
// the account are told. The answer is the same for every number.
func sendCode(c *call, r *wire.SendCode) (any, error) { return c.sentCode(r.PhoneNumber) }

// resendCode is sendCode again: there is no other way to send a code.
func resendCode(c *call, r *wire.ResendCode) (any, error) { return c.sentCode(r.PhoneNumber) }

func (c *call) sentCode(number string) (any, error) {
	phone := digitsOf(number)
	if len(phone) < 5 {
		return nil, refuse(400, "PHONE_NUMBER_INVALID")
	}
	if c.who != "" {
		return nil, refuse(400, "ALREADY_LOGGED_IN")
	}
	if wait := c.s.Limits.Allow("mtproto code", server.ByAddr(c.addr), server.RateLogin, 1); wait > 0 {
		return nil, flood(wait)
	}
	if err := c.askCode(phone); err != nil {
		return nil, err
	}
	return &wire.SentCode{Type: &wire.SentCodeTypeSms{Length: codeLength}, PhoneCodeHash: c.codeHash(phone)}, nil
}

// signIn logs in. A wrong code costs a try, which is kept: the refusal is an
// answer, not an error.
func signIn(c *call, r *wire.SignIn) (any, error) {
	phone := digitsOf(r.PhoneNumber)
	switch {
	case c.who != "":
		return c.signedIn(phone)
	case r.PhoneCode == "":
		return nil, refuse(400, "PHONE_CODE_EMPTY")
	case r.PhoneCodeHash != c.codeHash(phone):
		return nil, refuse(400, "PHONE_CODE_EXPIRED")
	}
	// A number counts alike whether or not anyone has it.
	try, wait := incoming.NewTry(c.s.Core, incoming.Stranger(c.addr), account.Name("+"+phone))
	if wait > 0 {
		return nil, flood(wait)
	}
	who, err := byPhone(c.tx, phone)
	if err != nil {
		return nil, err
	}
	if refused, err := c.useCode(phone, who, r.PhoneCode); err != nil {
		return nil, err
	} else if refused != nil {
		return refused, nil
	}
	try.Right()
	p, err := c.passwordOf(who)
	if err != nil {
		return nil, err
	}
	if p != nil {
		return rpcError(401, "SESSION_PASSWORD_NEEDED"), c.tx.Queue(`UPDATE mtproto_device SET pending = $1, pending_until = $2, name = $3, seen = $4 WHERE key_id = $5`, who, c.tx.Millis()+pendingFor, clip(c.model), c.tx.Millis(), c.keyID)
	}
	return c.enter(who)
}

// enter logs the device in.
func (c *call) enter(who account.Name) (any, error) {
	there, err := devicesOf(c.tx, who)
	if err != nil {
		return nil, err
	}
	if len(there) >= device.MaxDevices {
		return nil, refuse(400, "SESSIONS_TOO_MUCH")
	}
	err = c.tx.Queue(`UPDATE mtproto_device SET account = $1, name = $2, seen = $3, pending = NULL, pending_until = 0 WHERE key_id = $4`, who, clip(c.model), c.tx.Millis(), c.keyID)
	if err != nil {
		return nil, err
	}
	c.who = who
	if c.user, err = userID(c.tx, who); err != nil {
		return nil, err
	}
	if err := c.askAgain(); err != nil {
		return nil, err
	}
	return c.authorization()
}

func (c *call) authorization() (any, error) {
	u, err := c.person(c.user)
	if err != nil {
		return nil, err
	}
	return &wire.Authorization{User: u}, nil
}

// signedIn answers a login on a device where someone has logged in: again, if
// it is the same user, since a client may have lost the first answer.
func (c *call) signedIn(phone string) (any, error) {
	who, err := byPhone(c.tx, phone)
	if err != nil {
		return nil, err
	}
	if who != c.who {
		return nil, refuse(400, "ALREADY_LOGGED_IN")
	}
	return c.authorization()
}

// askAgain shows the requests that no one has answered on a new device as well.
func (c *call) askAgain() error {
	open, err := requestsFor(c.tx, c.user)
	if err != nil {
		return err
	}
	for _, id := range open {
		if err := tell(c.tx, c.keyID, id, stateRequested, 0); err != nil {
			return err
		}
	}
	return nil
}

// maxDeviceName bounds what is kept of the words of a client, in bytes.
const maxDeviceName = 200

func clip(s string) string {
	if len(s) > maxDeviceName {
		s = s[:maxDeviceName]
	}
	return toValid(s)
}

func logOut(c *call, _ *wire.LogOut) (any, error) {
	c.leaving.Store(true)
	return &wire.LoggedOut{}, c.s.endDevice(c.tx, c.keyID)
}

func updateStatus(c *call, _ *wire.UpdateStatus) (any, error) {
	return true, c.tx.Queue(`UPDATE mtproto_device SET seen = $1 WHERE key_id = $2`, c.tx.Millis(), c.keyID)
}

// devicesOf are the keys with which an account is logged in.
func devicesOf(tx *db.Tx, who account.Name) ([]int64, error) {
	return numbers(tx, `SELECT key_id FROM mtproto_device WHERE account = $1 ORDER BY key_id`, who)
}

// numbers runs a query for one column of numbers.
func numbers(tx *db.Tx, sql string, args ...any) ([]int64, error) {
	out := []int64{}
	for row, err := range tx.Query(sql, args...) {
		if err != nil {
			return nil, err
		}
		var n int64
		if err := row.Scan(&n); err != nil {
			return nil, err
		}
		out = append(out, n)
	}
	return out, nil
}

// endDevice ends a login: the chats of the device are closed, which their peers
// are told at once, and what waited for it is gone.
func (s *mtprotoServer) endDevice(tx *db.Tx, key int64) error {
	chats, err := numbers(tx, `SELECT id FROM mtproto_chat WHERE (admin_key = $1 OR other_key = $1) AND state <> $2 ORDER BY id`, key, stateClosed)
	if err != nil {
		return err
	}
	for _, id := range chats {
		ch, err := chatByID(tx, id)
		if err != nil {
			return err
		}
		if err := s.closeChat(tx, ch, key, false); err != nil {
			return err
		}
	}
	if err := errors.Join(removeMessages(tx, `key_id = $1`, key), removeSent(tx, `key_id = $1`, key)); err != nil {
		return err
	}
	for _, sql := range []string{
		`DELETE FROM mtproto_event WHERE key_id = $1`,
		`UPDATE mtproto_device SET account = NULL, acked = qts WHERE key_id = $1`,
	} {
		if err := tx.Queue(sql, key); err != nil {
			return err
		}
	}
	feed.Bump(tx, feedKey(key))
	return nil
}

var errGone = errors.New("mtproto: the device was logged out")
