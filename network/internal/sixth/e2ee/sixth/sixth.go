// Package sixth is the end-to-end encryption of the toy network: everyone in
// a circle knows one word, and the key derived from it seals all texts. A
// text is sealed with XChaCha20-Poly1305 together with its sender, recipient
// and transaction id.
//
// Begin with [Keep], which stores the key of a word, and [New].
package sixth

import (
	"errors"
	"io"

	"golang.org/x/crypto/argon2"
	"golang.org/x/crypto/chacha20poly1305"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/e2ee"
)

// Keys in the store.
const (
	keyWord  = "sixth/word"
	keyState = "sixth/state"
	preOut   = "sixth/out/"
	preSeen  = "sixth/seen/"
)

// Errors of this package.
var (
	// ErrNoWord: the store has no key, or the word that was given is empty.
	ErrNoWord = errors.New("sixth: no word of the circle is known")
	// ErrUnsupported: the message is not a text.
	ErrUnsupported = errors.New("sixth: only texts can be sent")
)

// A Post is a sealed text on its way to a user.
type Post struct {
	Name string        `json:"-"`
	To   quinta.UserID `json:"to"`
	Txn  quinta.TxnID  `json:"txn"`
	Box  []byte        `json:"box"` // nonce and ciphertext
}

// Lane implements client.Laned: the texts to one user keep their order.
func (p Post) Lane() string { return string(p.To) }

// A Receipt answers a Post: the message's id, or why it was refused.
type Receipt struct {
	ID      quinta.MessageID `json:"id,omitempty"`
	Refused string           `json:"refused,omitempty"`
}

// A Mail is a Post as it reaches a device.
type Mail struct {
	Pos    quinta.Pos       `json:"pos"`
	ID     quinta.MessageID `json:"id"`
	From   quinta.UserID    `json:"from"`
	Device quinta.DeviceID  `json:"device"`
	Txn    quinta.TxnID     `json:"txn"`
	Box    []byte           `json:"box"`
}

// Keep stores the key that a word makes.
func Keep(tx e2ee.Tx, word string) error {
	if word == "" {
		return ErrNoWord
	}
	return e2ee.Store(tx, keyWord, argon2.IDKey([]byte(word), []byte("quinta sixth network"), 3, 64<<10, 1, chacha20poly1305.KeySize))
}

// state is what the machine counts.
type state struct {
	Seq   e2ee.Seq   `json:"seq"`
	Since quinta.Pos `json:"since"`
}

// A Machine is the encryption of one device.
type Machine struct {
	env  e2ee.Env
	self quinta.UserID
}

var _ e2ee.Machine[[]Mail, Post, Receipt] = (*Machine)(nil)

// New returns the machine of a user.
func New(env e2ee.Env, self quinta.UserID) *Machine { return &Machine{env, self} }

// Since returns the position up to which mail was received.
func Since(tx e2ee.Tx) (quinta.Pos, error) {
	s, _, err := e2ee.Load[state](tx, keyState)
	return s.Since, err
}

// Send seals a text. The room is the user that it is for.
func (m *Machine) Send(tx e2ee.Tx, msg quinta.Message) error {
	if msg.Kind != quinta.MessageText {
		return ErrUnsupported
	}
	to := quinta.UserID(msg.Room)
	key, err := load(tx)
	if err != nil {
		return err
	}
	aead, err := chacha20poly1305.NewX(key)
	if err != nil {
		return e2ee.Damaged(keyWord)
	}
	nonce := make([]byte, aead.NonceSize(), aead.NonceSize()+len(msg.Text)+aead.Overhead())
	if _, err := io.ReadFull(m.env.Rand, nonce); err != nil {
		return err
	}
	box := aead.Seal(nonce, nonce, []byte(msg.Text), about(m.self, to, msg.Txn))
	st, _, err := e2ee.Load[state](tx, keyState)
	if err != nil {
		return err
	}
	if _, err := e2ee.NewQueue[Post](tx, preOut, &st.Seq).Put(Post{To: to, Txn: msg.Txn, Box: box}); err != nil {
		return err
	}
	return e2ee.Store(tx, keyState, st)
}

// Receive opens mail. What was received before is ignored.
func (m *Machine) Receive(tx e2ee.Tx, in []Mail) ([]e2ee.Event, error) {
	key, err := load(tx)
	if err != nil {
		return nil, err
	}
	st, _, err := e2ee.Load[state](tx, keyState)
	if err != nil {
		return nil, err
	}
	var events []e2ee.Event
	for _, mail := range in {
		if mail.Pos <= st.Since {
			continue
		}
		st.Since = mail.Pos
		e, err := m.open(tx, key, mail)
		if err != nil {
			return nil, err
		}
		events = append(events, e)
	}
	return events, e2ee.Store(tx, keyState, st)
}

// open opens one mail; a text that was opened before is a replay.
func (m *Machine) open(tx e2ee.Tx, key []byte, mail Mail) (e2ee.Event, error) {
	e := e2ee.Event{Kind: e2ee.EventUndecryptable, Message: quinta.Message{
		ID: mail.ID, Room: quinta.RoomID(mail.From), Sender: mail.From, Device: mail.Device, Time: m.env.Now(), Kind: quinta.MessageText,
	}}
	aead, err := chacha20poly1305.NewX(key)
	if err != nil {
		return e, e2ee.Damaged(keyWord)
	}
	if len(mail.Box) < aead.NonceSize()+aead.Overhead() {
		e.Reason = quinta.ReasonMalformed
		return e, nil
	}
	text, err := aead.Open(nil, mail.Box[:aead.NonceSize()], mail.Box[aead.NonceSize():], about(mail.From, m.self, mail.Txn))
	if err != nil {
		e.Reason = quinta.ReasonTampered
		return e, nil
	}
	seen := preSeen + string(e2ee.JSON([]string{string(mail.From), string(mail.Txn)}))
	if b, err := tx.Get(seen); b != nil || err != nil {
		e.Reason = quinta.ReasonReplayed
		return e, err
	}
	e.Kind, e.Message.Text, e.Message.Encrypted, e.Message.Trust = e2ee.EventMessage, string(text), true, quinta.TrustPinned
	return e, tx.Put(seen, []byte{1})
}

// Outgoing returns the posts that have no receipt yet.
func (m *Machine) Outgoing(tx e2ee.Tx) (due []Post, err error) {
	for r, err := range e2ee.NewQueue[Post](tx, preOut, new(e2ee.Seq)).All() {
		if err != nil {
			return nil, err
		}
		r.Value.Name = r.Name
		due = append(due, r.Value)
	}
	return due, nil
}

// Done takes a receipt.
func (m *Machine) Done(tx e2ee.Tx, p Post, r Receipt) ([]e2ee.Event, error) {
	e := e2ee.Event{Kind: e2ee.EventSent, Message: quinta.Message{ID: r.ID, Room: quinta.RoomID(p.To), Sender: m.self, Txn: p.Txn, Kind: quinta.MessageText}}
	if r.Refused != "" {
		e.Kind, e.Detail = e2ee.EventFailed, r.Refused
	}
	return []e2ee.Event{e}, e2ee.NewQueue[Post](tx, preOut, new(e2ee.Seq)).Done(p.Name)
}

// about is what is sealed with a text and not in it.
func about(from, to quinta.UserID, txn quinta.TxnID) []byte {
	return e2ee.JSON([]string{"sixth", string(from), string(to), string(txn)})
}

func load(tx e2ee.Tx) ([]byte, error) {
	key, found, err := e2ee.Load[[]byte](tx, keyWord)
	if err == nil && !found {
		err = ErrNoWord
	}
	return key, err
}
