package sixthserver

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/network/internal/sixth/e2ee/sixth"
	"github.com/quinta-chat/quinta/network/internal/sixth/network/sixth/wire"
	"github.com/quinta-chat/quinta/server/account"
	"github.com/quinta-chat/quinta/server/db"
	"github.com/quinta-chat/quinta/server/device"
	"github.com/quinta-chat/quinta/server/feed"
	"github.com/quinta-chat/quinta/server/mailbox"
)

const (
	// desk is the key of the feed under which posts wait to be sorted.
	desk = "sixth desk"
	// lookEvery is how often the office looks without being woken.
	lookEvery = 10 * time.Second
	// atOnce bounds the posts that one transaction sorts.
	atOnce = 64
)

// take takes a post of a device; the same one again gets the same receipt.
func (f *front) take(ctx context.Context, from device.Owner, p *sixth.Post) (*sixth.Receipt, error) {
	sum := sha256.Sum256(fmt.Appendf(nil, "%q %q %q", from.User, from.Device, p.Txn))
	r := &sixth.Receipt{ID: quinta.MessageID(hex.EncodeToString(sum[:16]))}
	who, err := f.accountOf(p.To)
	if err != nil {
		return &sixth.Receipt{Refused: "there is no such user"}, nil
	}
	err = f.Update(ctx, func(tx *db.Tx) error {
		if there, err := account.Exists(tx, who); err != nil || !there {
			r = &sixth.Receipt{Refused: "there is no such user"}
			return err
		}
		first, err := mailbox.Once(tx, name, from.User, from.Device, p.Txn)
		if err != nil || !first {
			return err
		}
		tx.Wake(desk)
		return tx.Queue(`INSERT INTO sixth_post (pos, id, sender, device, recipient, txn, box) VALUES ($1, $2, $3, $4, $5, $6, $7)`,
			int64(tx.NextPos()), string(r.ID), string(from.User), string(from.Device), string(p.To), string(p.Txn), p.Box)
	})
	return r, err
}

// Run is the sorting office: it moves what was posted into mailboxes.
func (f *front) Run(ctx context.Context) error {
	w := f.Hub.Wait(desk)
	defer w.Close()
	for ctx.Err() == nil {
		n := 0
		if err := f.Update(ctx, func(tx *db.Tx) (err error) { n, err = sort(tx); return err }); err != nil && ctx.Err() == nil {
			f.Log.Warn("sixth: sorting failed and will be tried again", "err", err)
		}
		if n == atOnce {
			continue
		}
		select {
		case <-w.C():
		case <-time.After(lookEvery):
		case <-ctx.Done():
		}
	}
	return nil
}

// sort sorts the oldest posts and returns how many there were.
func sort(tx *db.Tx) (n int, err error) {
	var posts []mailbox.Message
	for row, err := range tx.Query(`SELECT pos, id, sender, device, recipient, txn, box FROM sixth_post ORDER BY pos LIMIT $1`, atOnce) {
		if err != nil {
			return 0, err
		}
		var m sixth.Mail
		var to quinta.UserID
		var pos int64
		if err := row.Scan(&pos, &m.ID, &m.From, &m.Device, &to, &m.Txn, &m.Box); err != nil {
			return 0, err
		}
		b, err := json.Marshal(m)
		if err != nil {
			return 0, err
		}
		posts = append(posts, mailbox.Message{Pos: quinta.Pos(pos), Envelope: quinta.Envelope{From: m.From, To: to, Type: "mail", Body: b}})
	}
	for _, p := range posts {
		all, err := device.List(tx, name, p.To)
		if err != nil {
			return 0, err
		}
		for _, d := range all {
			p.Device = d.ID
			if err := mailbox.Put(tx, name, 0, p.Envelope); err != nil {
				return 0, err
			}
			feed.Bump(tx, feed.Device(name, p.To, d.ID))
		}
		if err := tx.Queue(`DELETE FROM sixth_post WHERE pos = $1`, int64(p.Pos)); err != nil {
			return 0, err
		}
	}
	return len(posts), nil
}

// hand hands out what is in the mailbox of a device.
func (f *front) hand(ctx context.Context, to device.Owner, in *wire.Fetch) ([]sixth.Mail, error) {
	w := f.Hub.Wait(feed.Device(name, to.User, to.Device))
	defer w.Close()
	if err := f.Update(ctx, func(tx *db.Tx) error { return mailbox.Ack(tx, name, to.User, to.Device, in.Since) }); err != nil {
		return nil, err
	}
	end := time.NewTimer(waitFor)
	defer end.Stop()
	for {
		var page []mailbox.Message
		if err := f.View(ctx, func(tx *db.Tx) (err error) {
			page, _, err = mailbox.Read(tx, name, to.User, to.Device, in.Since, wire.MaxPage)
			return err
		}); err != nil {
			return nil, err
		}
		var out []sixth.Mail
		for _, m := range page {
			var mail sixth.Mail
			if err := json.Unmarshal(m.Body, &mail); err != nil {
				return nil, errors.New("sixth: a mail in the store is damaged")
			}
			mail.Pos = m.Pos
			out = append(out, mail)
		}
		if len(out) > 0 || !in.Wait {
			return out, nil
		}
		select {
		case <-w.C():
		case <-end.C:
			return nil, nil
		case <-f.Draining():
			return nil, nil
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}
