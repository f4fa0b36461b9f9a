package secretchat

import (
	"fmt"
	"strconv"
	"time"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/e2ee"
)

// A State is how far a chat is on this device.
type State string

// The states of a chat.
const (
	// StateAsking: this device asks for the chat; the server or the peer has
	// not answered.
	StateAsking State = "asking"
	// StateRequested: the peer asks, and the user has not decided.
	StateRequested State = "requested"
	// StateAccepting: the user accepted; the server has not answered.
	StateAccepting State = "accepting"
	// StateOpen: messages may be sent.
	StateOpen State = "open"
	// StateClosed: the chat ended; Why says how.
	StateClosed State = "closed"
)

// Why a chat ended, in words for people.
const (
	whyPeer     = "the other side closed the chat or declined it"
	whyElse     = "another device of this account answered the request"
	whyUser     = "this device closed the chat"
	whyParams   = "the server's parameters for the key agreement are not safe"
	whyPublic   = "a public value of the key agreement is not safe"
	whyPrint    = "the two sides have different keys; do not trust this server"
	whySequence = "the order of the messages was broken; start another chat"
	whyRekey    = "the other side broke the key exchange; start another chat"
	whyResend   = "the other side asked for messages that are gone; start another chat"
	whyRefused  = "the server refused the chat"
	whyMany     = "there are too many requests"
	whyRestored = "the files of this device were restored from an old copy; start another chat"
)

// chat is the record of one chat.
type chat struct {
	ID     ChatID `json:"id"`
	Access int64  `json:"access,omitempty"`
	Peer   Person `json:"peer"`
	Side   Side   `json:"side"`
	Date   int64  `json:"date,omitempty"` // Unix seconds
	State  State  `json:"state"`
	Why    string `json:"why,omitempty"`

	// G and P are the chat's own for as long as it lives. GA is what the peer
	// sent with its request, Secret the exponent of the first agreement.
	G      int    `json:"g,omitempty"`
	P      []byte `json:"p,omitempty"`
	GA     []byte `json:"ga,omitempty"`
	Secret []byte `json:"secret,omitempty"`

	// Key seals. Old opens what the peer sealed before it had Key, Next what it
	// seals once it has committed to the next one. Retired are the fingerprints
	// of the last keys, to know their late packets.
	Key     []byte  `json:"key,omitempty"`
	Old     []byte  `json:"old,omitempty"`
	Next    []byte  `json:"next,omitempty"`
	Retired []int64 `json:"retired,omitempty"`
	// Hash is that of the first key.
	Hash     []byte `json:"hash,omitempty"`
	Verified bool   `json:"verified,omitempty"`
	// Since is when Key came into use, in Unix milliseconds, and Uses how many
	// messages it has sealed and opened.
	Since int64 `json:"since,omitempty"`
	Uses  int   `json:"uses,omitempty"`
	// Exchange is the exchange of a new key that is open, if any.
	Exchange *exchange `json:"exchange,omitempty"`

	// In counts the peer's messages that were taken in without a gap, Out
	// those of this device, Peer how many of these the peer has.
	In   int `json:"in"`
	Out  int `json:"out"`
	Have int `json:"have"`
	// Wanted is up to where missing messages were requested.
	Wanted int `json:"wanted,omitempty"`
	// AskedAt is when the last of them were requested, in Unix milliseconds.
	AskedAt int64 `json:"askedAt,omitempty"`

	// Remote is the layer of the peer.
	Remote int `json:"remote"`
	// TTL is the chat's timer in seconds.
	TTL int `json:"ttl,omitempty"`
	// Recent are the last messages of this device with the dates that the
	// server gave them, for the peer's receipts.
	Recent []dated `json:"recent,omitempty"`
}

// dated is a message with its date in Unix seconds.
type dated struct {
	ID   quinta.MessageID `json:"id"`
	Date int64            `json:"date"`
}

const (
	maxRecent  = 100
	maxRetired = 4
)

// Keys of what a chat keeps message by message. The numbers are raw.
func (c *chat) sentPrefix() string    { return "secretchat/sent/" + c.ID.String() + "/" }
func (c *chat) sentKey(n int) string  { return fmt.Sprintf("%s%08x", c.sentPrefix(), n) }
func (c *chat) heldPrefix() string    { return "secretchat/held/" + c.ID.String() + "/" }
func (c *chat) heldKey(n int) string  { return fmt.Sprintf("%s%08x", c.heldPrefix(), n) }
func (c *chat) draftPrefix() string   { return "secretchat/draft/" + c.ID.String() + "/" }
func (c *chat) room() quinta.RoomID   { return quinta.RoomID(c.ID.String()) }
func (c *chat) peerID() quinta.UserID { return UserID(c.Peer.ID) }

// UserID is the name of a user: the decimal number.
func UserID(id int64) quinta.UserID { return quinta.UserID(strconv.FormatInt(id, 10)) }

// messageID is the name of a message: its random_id in decimal, without a
// sign, since a name that begins with one looks like a flag.
func messageID(id int64) quinta.MessageID {
	return quinta.MessageID(strconv.FormatUint(uint64(id), 10))
}

func randomID(id quinta.MessageID) (int64, bool) {
	n, err := strconv.ParseUint(string(id), 10, 64)
	return int64(n), err == nil
}

func chatID(id quinta.RoomID) (ChatID, bool) {
	n, err := strconv.ParseUint(string(id), 10, 32)
	return ChatID(int32(uint32(n))), err == nil
}

// trust says how far what the peer writes is known.
func (c *chat) trust() quinta.Trust {
	if c.Verified {
		return quinta.TrustVerified
	}
	return quinta.TrustPinned
}

// tell reports that the chat changed.
func (w *work) tell(c *chat) {
	w.events = append(w.events, e2ee.Event{Kind: e2ee.EventRoom, Message: quinta.Message{Room: c.room()}, User: c.peerID(), Detail: c.Why})
}

// end closes a chat for good: its keys and what it keeps are erased, and what
// waits to be sent fails. The server is told unless it knows.
func (w *work) end(c *chat, why string, discard bool) error {
	if c.State == StateClosed {
		return nil
	}
	c.State, c.Why = StateClosed, why
	c.GA, c.Secret, c.Key, c.Old, c.Next, c.Retired, c.Exchange = nil, nil, nil, nil, nil, nil, nil
	if err := w.failAll(c, why); err != nil {
		return err
	}
	for _, prefix := range []string{c.sentPrefix(), c.heldPrefix(), c.draftPrefix()} {
		entries, err := e2ee.Entries(w.tx, prefix)
		if err != nil {
			return err
		}
		for _, e := range entries {
			if err := w.tx.Delete(e.Key); err != nil {
				return err
			}
		}
	}
	if discard {
		if _, err := w.queue.Put(Req{Method: MethodDiscard, Chat: c.ID, Access: c.Access}); err != nil {
			return err
		}
	}
	w.tell(c)
	return nil
}

// failAll drops the calls of a chat and says of its messages that they failed.
func (w *work) failAll(c *chat, why string) error {
	for r, err := range w.queue.All() {
		if err != nil {
			return err
		}
		if r.Value.Chat != c.ID {
			continue
		}
		if err := w.queue.Done(r.Name); err != nil {
			return err
		}
		if !r.Value.Local {
			continue
		}
		s, found, err := e2ee.Load[sentRecord](w.tx, c.sentKey(r.Value.Out))
		if err != nil {
			return err
		}
		if found && s.Message != nil {
			w.failed(*s.Message, why)
		}
	}
	for d, err := range e2ee.Records[draft](w.tx, c.draftPrefix()) {
		if err != nil {
			return err
		}
		w.failed(d.Value.message(), why)
	}
	return nil
}

func (w *work) failed(m quinta.Message, why string) {
	w.events = append(w.events, e2ee.Event{Kind: e2ee.EventFailed, Message: m, Detail: why})
}

// A ChatInfo is a chat as a user sees it.
type ChatInfo struct {
	ID    ChatID
	State State
	// Why is how a closed chat ended.
	Why  string
	Peer Person
	Side Side
	// Created is when the chat was requested.
	Created time.Time
	// Hash is what the two people compare; it is zero before there is a key.
	Hash     Hash
	Verified bool
	// Layer is that of the peer, TTL the timer of the chat.
	Layer int
	TTL   time.Duration
}

func (c *chat) info() ChatInfo {
	i := ChatInfo{ID: c.ID, State: c.State, Why: c.Why, Peer: c.Peer, Side: c.Side, Created: time.Unix(c.Date, 0), Verified: c.Verified, Layer: c.Remote, TTL: time.Duration(c.TTL) * time.Second}
	copy(i.Hash[:], c.Hash)
	return i
}

// Chats lists all chats of this device, closed ones included.
func (m *Machine) Chats(tx e2ee.Tx) (out []ChatInfo, err error) {
	_, err = m.run(tx, func(w *work) error {
		for r, err := range e2ee.Records[chat](tx, preChat) {
			if err != nil {
				return err
			}
			out = append(out, r.Value.info())
		}
		return nil
	})
	return out, err
}

// Chat returns one chat, or ErrUnknownChat.
func (m *Machine) Chat(tx e2ee.Tx, room quinta.RoomID) (info ChatInfo, err error) {
	_, err = m.run(tx, func(w *work) error {
		c, err := w.room(room)
		if err == nil {
			info = c.info()
		}
		return err
	})
	return info, err
}

// Busy reports whether calls of a chat are due, such as the request for it.
func (m *Machine) Busy(tx e2ee.Tx, room quinta.RoomID) (busy bool, err error) {
	_, err = m.run(tx, func(w *work) error {
		c, err := w.room(room)
		if err != nil {
			return err
		}
		for r, err := range w.queue.All() {
			if err != nil {
				return err
			}
			busy = busy || r.Value.Chat == c.ID
		}
		return nil
	})
	return busy, err
}

// Verify records whether the user compared the Hash of a chat's key with the
// peer over another channel. It holds for as long as the chat lives.
func (m *Machine) Verify(tx e2ee.Tx, room quinta.RoomID, equal bool) ([]e2ee.Event, error) {
	return m.run(tx, func(w *work) error {
		c, err := w.room(room)
		if err != nil {
			return err
		}
		if len(c.Hash) == 0 || c.State == StateClosed {
			return ErrNotOpen
		}
		c.Verified = equal
		w.tell(c)
		return nil
	})
}

// Restored closes every chat: the state is an old copy, and continuing with it
// could seal another message under a number that was used.
func (m *Machine) Restored(tx e2ee.Tx) ([]e2ee.Event, error) {
	return m.run(tx, func(w *work) error {
		for r, err := range e2ee.Records[chat](tx, preChat) {
			if err != nil {
				return err
			}
			c, err := w.chat(r.Value.ID)
			if err != nil {
				return err
			}
			// A request that no one has answered has no state that could be old.
			if c.State == StateRequested {
				continue
			}
			if err := w.end(c, whyRestored, true); err != nil {
				return err
			}
		}
		return nil
	})
}
