package rocketchatserver

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/network/internal/outgoing"
	"github.com/quinta-chat/quinta/network/rocketchat/wire"
	"github.com/quinta-chat/quinta/server/db"
	"github.com/quinta-chat/quinta/server/device"
)

// A Parcel is one push for one app.
type Parcel struct {
	// Service is "gcm" or "apn"; Token names the app there, App is its bundle.
	Service, Token, App string
	// Workspace is the unique id of this server.
	Workspace string
	wire.Notification
}

// A Gateway hands pushes to the vendors of devices.
type Gateway interface {
	// Hand hands a parcel over. gone says that the token is not of any app any
	// more. After an error it is tried again, with the same content.
	Hand(ctx context.Context, p Parcel) (gone bool, err error)
}

// An httpGateway is a gateway with the interface of Rocket.Chat's own.
type httpGateway struct {
	base string
	http *http.Client
}

var _ Gateway = (*httpGateway)(nil)

// newGateway speaks to the gateway at an address. The operator chose it, so it may be in
// their own network.
func newGateway(base string) *httpGateway {
	return &httpGateway{base: gatewayBase(base), http: outgoing.NewClient(true, outgoing.Timeout)}
}

// Hand posts a parcel to /push/SERVICE/send. A gateway answers 406 for a token that is
// not of any app any more.
func (g *httpGateway) Hand(ctx context.Context, p Parcel) (gone bool, err error) {
	id := sha256.Sum256([]byte(p.Payload.MessageID))
	options := map[string]any{"from": "push", "title": p.Title, "text": p.Text, "sound": "default", "payload": p.Payload,
		"notId": binary.BigEndian.Uint32(id[:4]) >> 1, "uniqueId": p.Workspace}
	if p.Service == "apn" {
		options["topic"], options["apn"] = p.App, map[string]string{"category": "MESSAGE"}
	}
	body, err := json.Marshal(map[string]any{"token": p.Token, "options": options})
	if err != nil {
		return false, err
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, g.base+"/push/"+p.Service+"/send", bytes.NewReader(body))
	if err != nil {
		return false, errors.New("the address of the gateway is not valid")
	}
	r.Header.Set("Content-Type", "application/json")
	resp, err := g.http.Do(r)
	if err != nil {
		return false, errors.New("the gateway does not answer")
	}
	defer resp.Body.Close()
	if _, err := io.Copy(io.Discard, io.LimitReader(resp.Body, 64<<10)); err != nil {
		return false, errors.New("the answer of the gateway was cut off")
	}
	switch {
	case resp.StatusCode == http.StatusNotAcceptable:
		return true, nil
	case resp.StatusCode/100 != 2:
		return false, fmt.Errorf("the gateway answered %d", resp.StatusCode)
	}
	return false, nil
}

// pushKey is the hub's key of what is to be pushed.
const pushKey = "rocketchat push"

// Run delivers pushes until ctx ends, on one node.
func (s *rcServer) Run(ctx context.Context) error {
	if !s.pushes() {
		<-ctx.Done()
		return nil
	}
	return s.OnOneNode(ctx, "rocketchat push", func(ctx context.Context) error {
		return outgoing.Rounds(ctx, s.Core, pushKey, s.deliver)
	})
}

// A due is a push whose time has come.
type due struct {
	user, device, message string
	tries                 int
}

// deliver makes the deliveries that are due, and returns when the next one is.
func (s *rcServer) deliver(ctx context.Context) (time.Duration, error) {
	for ctx.Err() == nil {
		d, wait, err := s.claim(ctx)
		if err != nil || d == nil {
			return wait, err
		}
		if err := s.hand(ctx, d); err != nil {
			return outgoing.Idle, err
		}
	}
	return outgoing.Idle, nil
}

// claim takes the push that is due first, so that no one else takes it for a time.
func (s *rcServer) claim(ctx context.Context) (*due, time.Duration, error) {
	var d *due
	wait := outgoing.Idle
	err := s.UpdateAlways(ctx, func(tx *db.Tx) error {
		var c due
		var next int64
		err := tx.Row(`SELECT user_id, device, message, tries, next_try FROM rocketchat_push ORDER BY next_try, message LIMIT 1`).Scan(&c.user, &c.device, &c.message, &c.tries, &next)
		if errors.Is(err, db.ErrNoRows) {
			return nil
		}
		if err != nil {
			return err
		}
		if next > tx.Millis() {
			wait = time.Duration(next-tx.Millis()) * time.Millisecond
			return nil
		}
		d = &c
		return tx.Queue(`UPDATE rocketchat_push SET next_try = $1, tries = tries + 1 WHERE user_id = $2 AND device = $3 AND message = $4`,
			tx.Millis()+outgoing.Lease.Milliseconds(), c.user, c.device, c.message)
	})
	return d, wait, err
}

// pack makes the parcel of a push, or none if no one is to be told any more: the login
// ended, the user left the room, or the message was taken back.
func (s *rcServer) pack(tx *db.Tx, d *due) (*Parcel, error) {
	p := &Parcel{Workspace: s.uniqueID()}
	err := tx.Row(`SELECT service, token, app FROM rocketchat_push_token WHERE user_id = $1 AND device = $2`, d.user, d.device).Scan(&p.Service, &p.Token, &p.App)
	if errors.Is(err, db.ErrNoRows) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	none := func(err error) (*Parcel, error) {
		if quinta.KindOf(err) == quinta.KindNotFound || errors.Is(err, errNoMessage) {
			return nil, nil
		}
		return nil, err
	}
	if _, err := device.Get(tx, name, quinta.UserID(d.user), quinta.DeviceID(d.device)); err != nil {
		return none(err)
	}
	m, _, err := getMessage(tx, quinta.MessageID(d.message))
	if err != nil {
		return none(err)
	}
	if _, err := getSub(tx, m.Room, d.user); err != nil {
		return none(err)
	}
	r, err := getRoom(tx, m.Room)
	if err != nil {
		return none(err)
	}
	p.Notification = s.forGateway(r, m)
	return p, nil
}

// hand makes one delivery and writes down what became of it.
func (s *rcServer) hand(ctx context.Context, d *due) error {
	var p *Parcel
	if err := s.View(ctx, func(tx *db.Tx) (err error) { p, err = s.pack(tx, d); return err }); err != nil {
		return err
	}
	gone := false
	if p != nil {
		var err error
		gone, err = s.gateway.Hand(ctx, *p)
		if ctx.Err() != nil {
			return ctx.Err() // the claim ends by itself
		}
		if err != nil && d.tries+1 < outgoing.MaxTries {
			s.Log.Info("rocketchat: the push gateway did not accept a notification", "tries", d.tries+1, "err", err)
			return s.UpdateAlways(ctx, func(tx *db.Tx) error {
				return tx.Queue(`UPDATE rocketchat_push SET next_try = $1 WHERE user_id = $2 AND device = $3 AND message = $4`,
					tx.Millis()+outgoing.Wait(d.tries).Milliseconds(), d.user, d.device, d.message)
			})
		}
	}
	return s.UpdateAlways(ctx, func(tx *db.Tx) error {
		if gone {
			return removeTokens(tx, d.user, d.device)
		}
		return tx.Queue(`DELETE FROM rocketchat_push WHERE user_id = $1 AND device = $2 AND message = $3`, d.user, d.device, d.message)
	})
}

// removeTokens forgets the app of a login, with what it was to be told.
func removeTokens(tx *db.Tx, user, device string) error {
	if err := tx.Queue(`DELETE FROM rocketchat_push WHERE user_id = $1 AND device = $2`, user, device); err != nil {
		return err
	}
	return tx.Queue(`DELETE FROM rocketchat_push_token WHERE user_id = $1 AND device = $2`, user, device)
}
