package secretchat

import (
	"crypto/subtle"
	"time"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/e2ee"
	"github.com/quinta-chat/quinta/e2ee/secretchat/schema"
)

// When a key is replaced. "Perfect Forward Secrecy".
const (
	maxUses = 100
	maxAge  = 7 * 24 * time.Hour
)

// An exchange is one exchange of a new key that this side has open: it asked
// and holds Secret, or it accepted and holds the chat's Next.
type exchange struct {
	ID     int64  `json:"id"`
	Secret []byte `json:"secret,omitempty"`
	// Fingerprint is that of the key that was accepted.
	Fingerprint int64 `json:"fingerprint,omitempty"`
}

// Rekey begins an exchange of a new key at once, unless one is open.
func (m *Machine) Rekey(tx e2ee.Tx, room quinta.RoomID) error {
	_, err := m.run(tx, func(w *work) error {
		c, err := w.room(room)
		switch {
		case err != nil:
			return err
		case c.State == StateClosed:
			return ErrClosed
		case c.State != StateOpen:
			return ErrNotOpen
		}
		return w.rekey(c)
	})
	return err
}

// rekeyDue begins the exchanges whose time has come. An exchange that is open
// has no time-out: the peer may be away.
func (w *work) rekeyDue() error {
	for r, err := range e2ee.Records[chat](w.tx, preChat) {
		if err != nil {
			return err
		}
		c := &r.Value
		age := w.now.Sub(time.UnixMilli(c.Since))
		if c.State != StateOpen || c.Uses <= maxUses && (age <= maxAge || c.Uses == 0) {
			continue
		}
		if c, err = w.chat(c.ID); err != nil {
			return err
		}
		if err := w.rekey(c); err != nil {
			return err
		}
	}
	return nil
}

// rekey asks for a new key. Never while an exchange is open or an old key is
// still needed.
func (w *work) rekey(c *chat) error {
	if c.Exchange != nil || c.Old != nil {
		return nil
	}
	group, err := w.group(c)
	if err != nil {
		return err
	}
	secret, public, err := w.newSecret(group, nil)
	if err != nil {
		return err
	}
	defer secret.Wipe()
	id, err := w.random64()
	if err != nil {
		return err
	}
	c.Exchange = &exchange{ID: id, Secret: secret.Bytes()}
	return w.action(c, &schema.DecryptedMessageActionRequestKey{ExchangeID: id, GA: public})
}

// group is the chat's own, for as long as it lives.
func (w *work) group(c *chat) (*Group, error) {
	return w.m.verdicts.Group(w.m.env.Rand, c.G, c.P)
}

// requestKey accepts the peer's new key. If both asked at once the larger id
// wins, and equal ones both lose.
func (w *work) requestKey(c *chat, a *schema.DecryptedMessageActionRequestKey) error {
	if own := c.Exchange; own != nil {
		switch {
		case own.Secret == nil:
			return w.end(c, whyRekey, true)
		case own.ID > a.ExchangeID:
			return nil
		case own.ID == a.ExchangeID:
			c.Exchange = nil
			return nil
		}
		c.Exchange = nil
	}
	if c.Old != nil || c.Next != nil {
		return w.end(c, whyRekey, true)
	}
	group, err := w.group(c)
	if err != nil {
		return err
	}
	if group.Check(a.GA) != nil {
		return w.end(c, whyPublic, true)
	}
	secret, public, err := w.newSecret(group, nil)
	if err != nil {
		return err
	}
	defer secret.Wipe()
	key, err := secret.Agree(group, a.GA)
	if err != nil {
		return err
	}
	defer key.Wipe()
	c.Next = key.Bytes()
	c.Exchange = &exchange{ID: a.ExchangeID, Fingerprint: key.Fingerprint()}
	return w.action(c, &schema.DecryptedMessageActionAcceptKey{ExchangeID: a.ExchangeID, GB: public, KeyFingerprint: key.Fingerprint()})
}

// acceptKey commits to the key that the peer accepted: the commitment goes
// under the old key, what follows under the new one.
func (w *work) acceptKey(c *chat, a *schema.DecryptedMessageActionAcceptKey) error {
	own := c.Exchange
	if own == nil || own.Secret == nil || own.ID != a.ExchangeID {
		return w.end(c, whyRekey, true)
	}
	group, err := w.group(c)
	if err != nil {
		return err
	}
	secret, err := ParseSecret(own.Secret)
	if err != nil {
		return e2ee.Damaged(preChat + c.ID.String())
	}
	defer secret.Wipe()
	key, err := secret.Agree(group, a.GB)
	if err != nil {
		return w.end(c, whyPublic, true)
	}
	defer key.Wipe()
	if key.Fingerprint() != a.KeyFingerprint {
		return w.end(c, whyRekey, true)
	}
	if err := w.action(c, &schema.DecryptedMessageActionCommitKey{ExchangeID: own.ID, KeyFingerprint: a.KeyFingerprint}); err != nil {
		return err
	}
	c.Exchange = nil
	c.Old, c.Key = c.Key, key.Bytes()
	return w.switched(c)
}

// commitKey switches to the key that this side accepted. Everything that the
// peer sealed under the old one has been taken in.
func (w *work) commitKey(c *chat, a *schema.DecryptedMessageActionCommitKey) error {
	own := c.Exchange
	if own == nil || own.Secret != nil || c.Next == nil || own.ID != a.ExchangeID || own.Fingerprint != a.KeyFingerprint {
		return w.end(c, whyRekey, true)
	}
	if err := w.retire(c, c.Key); err != nil {
		return err
	}
	c.Key, c.Next, c.Exchange = c.Next, nil, nil
	return w.switched(c)
}

// switched begins to count again and shows the peer the new key, so that it
// can drop the old one.
func (w *work) switched(c *chat) error {
	c.Since, c.Uses = w.now.UnixMilli(), 0
	err := w.action(c, &schema.DecryptedMessageActionNoop{})
	c.Uses = 0
	return err
}

// underNewKey drops the old key once the peer was seen to use the new one.
func (w *work) underNewKey(c *chat, under int64) error {
	if c.Old == nil {
		return nil
	}
	key, err := ParseKey(c.Key)
	if err != nil {
		return e2ee.Damaged(preChat + c.ID.String())
	}
	defer key.Wipe()
	if key.Fingerprint() != under {
		return nil
	}
	old := c.Old
	c.Old = nil
	return w.retire(c, old)
}

// retire remembers the fingerprint of a key that is erased.
func (w *work) retire(c *chat, raw []byte) error {
	key, err := ParseKey(raw)
	if err != nil {
		return e2ee.Damaged(preChat + c.ID.String())
	}
	c.Retired = append(c.Retired, key.Fingerprint())
	if over := len(c.Retired) - maxRetired; over > 0 {
		c.Retired = c.Retired[over:]
	}
	subtle.XORBytes(raw, raw, raw)
	return nil
}

// abortKey ends an exchange that this side asked for. After an AcceptKey it is
// too late; one for another exchange is ignored.
func (w *work) abortKey(c *chat, a *schema.DecryptedMessageActionAbortKey) error {
	own := c.Exchange
	if own == nil || own.ID != a.ExchangeID {
		return nil
	}
	if own.Secret == nil {
		return w.end(c, whyRekey, true)
	}
	c.Exchange = nil
	return nil
}
