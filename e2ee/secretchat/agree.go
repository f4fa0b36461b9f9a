package secretchat

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/e2ee"
	"github.com/quinta-chat/quinta/e2ee/secretchat/schema"
)

// Create asks a person for a chat and returns its id. Messages may be sent at
// once; they leave when the peer has accepted.
func (m *Machine) Create(tx e2ee.Tx, peer Person) (id ChatID, err error) {
	_, err = m.run(tx, func(w *work) error {
		if peer.ID == 0 || peer.ID == m.user {
			return fmt.Errorf("%w: a chat is with another user", ErrUnknownChat)
		}
		for {
			var b [4]byte
			if _, err := io.ReadFull(m.env.Rand, b[:]); err != nil {
				return fmt.Errorf("secretchat: drawing a chat id: %w", err)
			}
			id = ChatID(binary.LittleEndian.Uint32(b[:]) &^ (1 << 31))
			if there, err := w.chat(id); err != nil {
				return err
			} else if id != 0 && there == nil {
				break
			}
		}
		c := &chat{ID: id, Peer: peer, Side: Creator, Date: w.now.Unix(), State: StateAsking, Remote: FirstLayer}
		w.chats[id] = c
		w.tell(c)
		return w.askParameters(c)
	})
	return id, err
}

// Accept takes up a request.
func (m *Machine) Accept(tx e2ee.Tx, room quinta.RoomID) ([]e2ee.Event, error) {
	return m.run(tx, func(w *work) error {
		c, err := w.room(room)
		switch {
		case err != nil:
			return err
		case c.State == StateClosed:
			return ErrClosed
		case c.State != StateRequested:
			return ErrNotAsked
		}
		c.State = StateAccepting
		if err := w.requestBound().Drop(c.ID.String()); err != nil {
			return err
		}
		w.tell(c)
		return w.askParameters(c)
	})
}

// Close ends a chat or rejects a request. delete asks the peer's client to
// delete what was said.
func (m *Machine) Close(tx e2ee.Tx, room quinta.RoomID, delete bool) ([]e2ee.Event, error) {
	return m.run(tx, func(w *work) error {
		c, err := w.room(room)
		if err != nil {
			return err
		}
		if c.State == StateClosed {
			return ErrClosed
		}
		if err := w.end(c, whyUser, false); err != nil {
			return err
		}
		_, err = w.queue.Put(Req{Method: MethodDiscard, Chat: c.ID, Access: c.Access, Delete: delete})
		return err
	})
}

// askParameters asks for p and g, as before every key generation.
func (w *work) askParameters(c *chat) error {
	_, err := w.queue.Put(Req{Method: MethodDHConfig, Chat: c.ID, Version: w.meta.Version})
	return err
}

// parameters takes the answer to MethodDHConfig and continues the agreement.
func (w *work) parameters(c *chat, ans Ans) error {
	if c.State != StateAsking && c.State != StateAccepting || c.Secret != nil {
		return nil
	}
	if ans.Code != "" {
		return w.end(c, whyRefused+": "+ans.Code, false)
	}
	if ans.P != nil {
		w.meta.G, w.meta.P, w.meta.Version = ans.G, ans.P, ans.Version
	}
	group, err := w.m.verdicts.Group(w.m.env.Rand, w.meta.G, w.meta.P)
	if errors.Is(err, ErrWeakGroup) {
		// Unsafe parameters are not remembered as current either.
		w.meta.G, w.meta.P, w.meta.Version = 0, nil, 0
		return w.end(c, whyParams, c.State == StateAccepting)
	} else if err != nil {
		return err
	}
	c.G, c.P = group.G(), group.P()
	secret, public, err := w.newSecret(group, ans.Random)
	if err != nil {
		return err
	}
	if c.State == StateAsking {
		c.Secret = secret.Bytes()
		_, err = w.queue.Put(Req{Method: MethodRequest, Chat: c.ID, User: &c.Peer, Public: public})
		return err
	}
	key, err := secret.Agree(group, c.GA)
	if err != nil {
		return w.end(c, whyPublic, true)
	}
	w.firstKey(c, key)
	_, err = w.queue.Put(Req{Method: MethodAccept, Chat: c.ID, Access: c.Access, Public: public, Fingerprint: key.Fingerprint()})
	return err
}

// newSecret draws an exponent whose public value is in its range.
func (w *work) newSecret(group *Group, server []byte) (*Secret, []byte, error) {
	if len(server) != Size {
		server = nil
	}
	for {
		secret, err := NewSecret(w.m.env.Rand, server)
		if err != nil {
			return nil, nil, err
		}
		public, err := secret.Public(group)
		if err == nil || !errors.Is(err, ErrWeakPublic) {
			return secret, public, err
		}
	}
}

// firstKey begins to use the key of the agreement.
func (w *work) firstKey(c *chat, key *Key) {
	h := key.Hash()
	c.Key, c.Hash, c.Secret, c.GA = key.Bytes(), h[:], nil, nil
	c.Since = w.now.UnixMilli()
}

// requested takes the answer to MethodRequest.
func (w *work) requested(c *chat, ans Ans) error {
	switch {
	case c.State != StateAsking:
		return nil
	case ans.Code != "":
		return w.end(c, whyRefused+": "+ans.Code, false)
	case ans.Chat != nil:
		c.Access = ans.Chat.Access
	}
	return nil
}

// accepted takes the answer to MethodAccept.
func (w *work) accepted(c *chat, ans Ans) error {
	if c.State != StateAccepting {
		return nil
	}
	switch ans.Code {
	case "":
		return w.open(c)
	case "ENCRYPTION_ALREADY_ACCEPTED":
		return w.end(c, whyElse, false)
	case "ENCRYPTION_ALREADY_DECLINED":
		return w.end(c, whyPeer, false)
	}
	return w.end(c, whyRefused+": "+ans.Code, false)
}

// open says which layer this device reads, as both sides do at once after the
// agreement, and sends what waited.
func (w *work) open(c *chat) error {
	c.State = StateOpen
	if err := w.action(c, &schema.DecryptedMessageActionNotifyLayer{Layer: Layer}); err != nil {
		return err
	}
	w.tell(c)
	for d, err := range e2ee.Records[draft](w.tx, c.draftPrefix()) {
		if err != nil {
			return err
		}
		if err := w.tx.Delete(d.Key); err != nil {
			return err
		}
		if err := w.sendMessage(c, d.Value.message()); err != nil {
			return err
		}
	}
	return nil
}

// chatUpdate takes what the server says of a chat. What is behind the state of
// this device is ignored.
func (w *work) chatUpdate(u *Chat, people []Person) error {
	c, err := w.chat(u.ID)
	if err != nil {
		return err
	}
	switch u.Stage {
	case StageRequested:
		if c != nil || u.Admin == w.m.user || u.Participant != w.m.user || u.Admin == 0 {
			return nil
		}
		if err := w.holdRequest(u); err != nil {
			return err
		}
		c = &chat{ID: u.ID, Access: u.Access, Peer: person(u.Admin, people), Side: Other, Date: u.Date, State: StateRequested, Remote: FirstLayer, GA: u.Public}
		w.chats[u.ID] = c
		w.tell(c)
	case StageOpen:
		if c != nil && c.State == StateAsking && c.Secret != nil {
			return w.opened(c, u)
		}
	case StageClosed:
		if c == nil {
			return nil
		}
		why := whyPeer
		if c.State == StateRequested {
			why = "the request was withdrawn, or " + whyElse
		}
		return w.end(c, why, false)
	}
	return nil
}

// opened makes the key of a chat that the peer accepted.
func (w *work) opened(c *chat, u *Chat) error {
	group, err := w.m.verdicts.Group(w.m.env.Rand, c.G, c.P)
	if err != nil {
		return err
	}
	secret, err := ParseSecret(c.Secret)
	if err != nil {
		return e2ee.Damaged(preChat + c.ID.String())
	}
	defer secret.Wipe()
	c.Access = u.Access
	key, err := secret.Agree(group, u.Public)
	if err != nil {
		return w.end(c, whyPublic, true)
	}
	if key.Fingerprint() != u.Fingerprint {
		return w.end(c, whyPrint, true)
	}
	w.firstKey(c, key)
	return w.open(c)
}

func person(id int64, people []Person) Person {
	for _, p := range people {
		if p.ID == id {
			return p
		}
	}
	return Person{ID: id}
}
