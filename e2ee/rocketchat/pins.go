package rocketchat

import (
	"crypto/sha256"
	"fmt"
	"slices"
	"strings"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/e2ee"
	"github.com/quinta-chat/quinta/internal/words"
)

// A pinned key is the public key of a user as it was seen first, or as the user
// of this device has accepted it.
type pinned struct {
	Name   string `json:"name,omitempty"`
	Public string `json:"public"`
	// Trust is TrustPinned, TrustVerified or TrustRejected.
	Trust quinta.Trust `json:"trust"`
	// New is a key that the server shows and that was not accepted.
	New string `json:"new,omitempty"`
}

func pinKey(user string) string { return "pin/" + user }

// learnName keeps the user name of an id.
func (w *work) learnName(a Author) error {
	if !validID(a.ID) || a.Name == "" || len(a.Name) > 256 {
		return nil
	}
	key := "name/" + a.ID
	have, err := w.tx.Get(key)
	if err != nil || string(have) == a.Name {
		return err
	}
	if have == nil {
		if err := w.holdName(a.ID); err != nil {
			return err
		}
	}
	return w.tx.Put(key, []byte(a.Name))
}

// name returns the user name of an id, or the id.
func (w *work) name(id string) quinta.UserID {
	if id == w.m.self.ID {
		return quinta.UserID(w.m.self.Name)
	}
	if b, err := w.tx.Get("name/" + id); err == nil && len(b) > 0 {
		return quinta.UserID(b)
	}
	return quinta.UserID(id)
}

// pin compares the public key that the server shows of a user with the pinned
// one, and reports whether a room key may be wrapped for it. The first one is
// pinned.
func (w *work) pin(u Waiting) (PublicKey, bool, error) {
	if err := w.learnName(Author{ID: u.User, Name: u.Name}); err != nil {
		return PublicKey{}, false, err
	}
	shown, err := ParsePublicKey(u.Public)
	if err != nil {
		w.emit(e2ee.Event{Kind: e2ee.EventTrouble, User: w.name(u.User), Detail: "the public key of " + string(w.name(u.User)) + ": " + err.Error()})
		return PublicKey{}, false, nil
	}
	p, found, err := e2ee.Load[pinned](w.tx, pinKey(u.User))
	if err != nil {
		return PublicKey{}, false, err
	}
	if !found {
		if ok, err := w.holdPin(u.User); err != nil || !ok {
			return PublicKey{}, false, err
		}
		return shown, true, e2ee.Store(w.tx, pinKey(u.User), pinned{Name: u.Name, Public: shown.String(), Trust: quinta.TrustPinned})
	}
	have, err := ParsePublicKey(p.Public)
	if err != nil {
		return PublicKey{}, false, e2ee.Damaged(pinKey(u.User))
	}
	if have.Equal(shown) {
		if p.New != "" {
			p.New = ""
			err = e2ee.Store(w.tx, pinKey(u.User), p)
		}
		return shown, p.Trust != quinta.TrustRejected, err
	}
	if p.New != shown.String() {
		p.New = shown.String()
		if err := e2ee.Store(w.tx, pinKey(u.User), p); err != nil {
			return PublicKey{}, false, err
		}
		w.emit(e2ee.Event{Kind: e2ee.EventKeyChanged, User: w.name(u.User), Device: quinta.DeviceID(shown.Fingerprint()),
			Detail: "the public key has changed: it gets no room key until you accept it"})
	}
	return PublicKey{}, false, nil
}

// blocked returns a user whose verified key changed and who is to get the room's
// messages; "" if there is none.
func (w *work) blocked(r *room) (quinta.UserID, error) {
	ids := slices.Clone(r.Blocked)
	for _, p := range r.State.Peers {
		ids = append(ids, p.ID)
	}
	for _, id := range ids {
		p, found, err := e2ee.Load[pinned](w.tx, pinKey(id))
		if err != nil {
			return "", err
		}
		if found && p.New != "" && p.Trust == quinta.TrustVerified {
			return w.name(id), nil
		}
	}
	return "", nil
}

// A PinInfo is what is known of a user's public key.
type PinInfo struct {
	User quinta.UserID
	// Fingerprint is the SHA-256 of the pinned key, New that of a key which the
	// server shows and which was not accepted; "" if there is none.
	Fingerprint, New string
	Trust            quinta.Trust
}

// findPin returns the id and the record of a user by name or id.
func findPin(tx e2ee.Tx, user quinta.UserID) (string, pinned, error) {
	if p, found, err := e2ee.Load[pinned](tx, pinKey(string(user))); err != nil || found {
		return string(user), p, err
	}
	for e, err := range tx.All("name/") {
		if err != nil {
			return "", pinned{}, err
		}
		if string(e.Value) == string(user) {
			id := strings.TrimPrefix(e.Key, "name/")
			p, found, err := e2ee.Load[pinned](tx, pinKey(id))
			if err != nil || found {
				return id, p, err
			}
		}
	}
	return "", pinned{}, ErrUnknownUser
}

// Pin returns what is known of a user's public key, or [ErrUnknownUser].
func (m *Machine) Pin(tx e2ee.Tx, user quinta.UserID) (PinInfo, error) {
	_, p, err := findPin(tx, user)
	if err != nil {
		return PinInfo{}, err
	}
	info := PinInfo{User: user, Trust: p.Trust}
	if k, err := ParsePublicKey(p.Public); err == nil {
		info.Fingerprint = k.Fingerprint()
	}
	if k, err := ParsePublicKey(p.New); err == nil {
		info.New = k.Fingerprint()
	}
	return info, nil
}

// Show takes in the public key that the server shows of a user, as doneWaiting
// does, so that it can be compared before anything is sealed for it.
func (m *Machine) Show(tx e2ee.Tx, u Waiting) ([]e2ee.Event, error) {
	return m.run(tx, func(w *work) error { _, _, err := w.pin(u); return err })
}

// Judge keeps what the user found when they compared a key: TrustVerified,
// TrustRejected, or TrustPinned to take that back.
func (m *Machine) Judge(tx e2ee.Tx, user quinta.UserID, t quinta.Trust) error {
	_, err := m.run(tx, func(w *work) error {
		id, p, err := findPin(tx, user)
		if err != nil {
			return err
		}
		p.Trust = t
		w.meta.OfferAfter = 0
		return e2ee.Store(tx, pinKey(id), p)
	})
	return err
}

// Acknowledge takes a user's changed key as the one that counts from now on,
// without saying that it was compared. The keys of the rooms that the user is to
// read are replaced first: the old key pair may be in other hands.
func (m *Machine) Acknowledge(tx e2ee.Tx, user quinta.UserID) error {
	_, err := m.run(tx, func(w *work) error {
		id, p, err := findPin(tx, user)
		if err != nil {
			return err
		}
		if p.New == "" {
			return nil
		}
		p.Public, p.New, p.Trust = p.New, "", quinta.TrustPinned
		if err := e2ee.Store(tx, pinKey(id), p); err != nil {
			return err
		}
		ids, err := w.roomIDs()
		if err != nil {
			return err
		}
		for _, rid := range ids {
			r, err := w.room(rid)
			if err != nil {
				return err
			}
			if slices.Contains(r.Blocked, id) {
				r.Blocked = slices.DeleteFunc(r.Blocked, func(u string) bool { return u == id })
				w.rotate(r)
			}
		}
		w.meta.OfferAfter = 0
		return nil
	})
	return err
}

// Words returns the twelve words that this user and another compare, and the
// fingerprint of the other's key that they are for. Words for a key that is not
// accepted are not given out: [ErrKeyChanged].
func (m *Machine) Words(tx e2ee.Tx, user quinta.UserID) (words []string, fingerprint string, err error) {
	own, err := m.Keys(tx)
	if err != nil {
		return nil, "", err
	}
	if own.Phase != PhaseOpen {
		return nil, "", ErrNoKeys
	}
	pin, err := m.Pin(tx, user)
	switch {
	case err != nil:
		return nil, "", err
	case pin.Fingerprint == "":
		return nil, "", ErrUnknownUser
	case pin.New != "":
		return nil, "", fmt.Errorf("%w: accept the new one first", ErrKeyChanged)
	}
	return SafetyWords(own.Fingerprint, pin.Fingerprint), pin.Fingerprint, nil
}

// Verified keeps that the user has compared the words of a fingerprint. A key that is
// another one by now stays as it is: [ErrKeyChanged].
func (m *Machine) Verified(tx e2ee.Tx, user quinta.UserID, fingerprint string) error {
	pin, err := m.Pin(tx, user)
	if err != nil {
		return err
	}
	if pin.Fingerprint != fingerprint || pin.New != "" {
		return fmt.Errorf("%w: it changed while it was being compared", ErrKeyChanged)
	}
	return m.Judge(tx, user, quinta.TrustVerified)
}

// SafetyWords are twelve words that two people compare: 132 bits of a hash over
// the fingerprints of both, the same on both sides.
func SafetyWords(a, b string) []string {
	list := []string{a, b}
	slices.Sort(list)
	sum := sha256.Sum256([]byte("quinta-rocketchat-safety/1\x00" + strings.Join(list, "\x00")))
	return words.Write(sum[:], 12)
}
