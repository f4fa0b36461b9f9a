package rocketchat

import (
	"fmt"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/e2ee"
)

// A Phase is how far this device is with the user's key pair.
type Phase string

// The phases.
const (
	// PhaseUnknown: the server was not asked yet, or has not answered clearly.
	PhaseUnknown Phase = ""
	// PhaseNone: the server said clearly that the user has no key pair.
	PhaseNone Phase = "none"
	// PhaseLocked: the server has a key pair that this device has not opened.
	PhaseLocked Phase = "locked"
	// PhaseStoring: a key pair was made here and is not confirmed to be stored.
	PhaseStoring Phase = "storing"
	// PhaseOpen: the private key is on this device.
	PhaseOpen Phase = "open"
)

// keyState is what is known of the key pair. It is in the encrypted store.
type keyState struct {
	Phase Phase `json:"phase,omitempty"`
	// Public and Blob are what the server has, or is to store.
	Public string `json:"public,omitempty"`
	Blob   string `json:"blob,omitempty"`
	// Private is the JWK of the private key, Password the password that was made
	// here, until the user took it down.
	Private  string `json:"private,omitempty"`
	Password string `json:"password,omitempty"`
	// Check says that what the server stores is to be read back.
	Check bool `json:"check,omitempty"`
	// Fresh says that the pair took the place of another one: room keys that are
	// here are wrapped for it again.
	Fresh bool `json:"fresh,omitempty"`
	// Wait is when the server is asked again, in Unix milliseconds.
	Wait int64 `json:"wait,omitempty"`
}

// String hides the keys.
func (keyState) String() string { return "[redacted]" }

// GoString hides the keys.
func (keyState) GoString() string { return "[redacted]" }

// KeyInfo is what can be said of the key pair.
type KeyInfo struct {
	Phase Phase
	// Fingerprint is that of the public key; "" if none is known.
	Fingerprint string
	// Untaken says that the password was made here and no one took it down yet.
	Untaken bool
	// Form is that of the key blob on the server; 0 if there is none.
	Form Form
}

// Keys returns what can be said of the key pair.
func (m *Machine) Keys(tx e2ee.Tx) (KeyInfo, error) {
	have, _, err := e2ee.Load[meta](tx, "meta")
	if err != nil {
		return KeyInfo{}, err
	}
	k := have.Keys
	info := KeyInfo{Phase: k.Phase, Untaken: k.Password != ""}
	if p, err := ParsePublicKey(k.Public); err == nil {
		info.Fingerprint = p.Fingerprint()
	}
	if b, err := parseBlob(k.Blob, have.User); err == nil {
		info.Form = b.form
	}
	return info, nil
}

// Password returns the password that was made here, until TookPassword; then "".
func (m *Machine) Password(tx e2ee.Tx) (string, error) {
	have, _, err := e2ee.Load[meta](tx, "meta")
	return have.Keys.Password, err
}

// TookPassword forgets the password that was made here: the user has it now.
func (m *Machine) TookPassword(tx e2ee.Tx) error {
	_, err := m.run(tx, func(w *work) error { w.meta.Keys.Password = ""; return nil })
	return err
}

// planKeys asks for the key pair. A pair is made in doneKeys alone, after a clear
// answer.
func (w *work) planKeys() error {
	k := &w.meta.Keys
	if (k.Phase == PhaseUnknown || k.Check) && !w.early(k.Wait) {
		if storing, err := w.asked(ReqSetKeys, ""); err != nil || storing {
			return err
		}
		return w.ask(Req{Kind: ReqKeys})
	}
	return nil
}

// doneKeys learns what key pair the server has.
func (w *work) doneKeys(_ Req, ans Ans) error {
	k := &w.meta.Keys
	switch {
	case ans.Code != "":
		k.Wait = w.later()
		w.trouble("the E2E keys of this account", ans)
		return nil
	case ans.Public == "" && ans.Private == "":
		if k.Phase == PhaseStoring || k.Phase == PhaseOpen {
			// The server said that it stores the pair and has none, or someone
			// removed it: it is offered once more, with the same bytes.
			k.Check, k.Wait = true, w.later()
			if k.Blob == "" {
				return nil
			}
			return w.ask(Req{Kind: ReqSetKeys, Public: k.Public, Private: k.Blob})
		}
		return w.makeKeys("")
	case ans.Public == "" || ans.Private == "":
		k.Wait = w.later()
		w.trouble("the server has half a key pair of this account", ans)
		return nil
	}
	return w.takeKeys(ans.Public, ans.Private)
}

// takeKeys compares what the server has with what is here.
func (w *work) takeKeys(public, blob string) error {
	k := &w.meta.Keys
	pub, err := ParsePublicKey(public)
	if err != nil {
		k.Wait = w.later()
		w.trouble("the server's public key of this account: "+err.Error(), Ans{})
		return nil
	}
	k.Check = false
	if k.Private != "" {
		mine, err := w.openPrivate()
		if err != nil {
			return err
		}
		if mine.Public().Equal(pub) {
			if k.Password != "" && k.Blob != blob {
				// Another device, or a later time than that of this store, has set another.
				if _, _, err := OpenPrivateKey(blob, k.Password, w.m.self.ID); err != nil {
					k.Password = ""
				}
			}
			k.Phase, k.Public, k.Blob = PhaseOpen, public, blob
			return w.opened()
		}
		// Another device was faster, or has made new keys.
		w.emit(e2ee.Event{Kind: e2ee.EventKeyChanged, User: w.name(w.m.self.ID), Detail: "the E2E keys of this account are no longer the keys on this device"})
	}
	*k = keyState{Phase: PhaseLocked, Public: public, Blob: blob}
	w.private = PrivateKey{}
	w.emit(e2ee.Event{Kind: e2ee.EventTrouble, Detail: "the E2E keys of this account are locked: unlock them with the E2E password"})
	return w.toldLocked()
}

// toldLocked tells of the messages that wait that the password is what they need.
func (w *work) toldLocked() error {
	for rec, err := range e2ee.Records[waitRecord](w.tx, "wait/") {
		if err != nil {
			return err
		}
		w.cannotRead(&rec.Value.Message, quinta.ReasonBackupLocked, "")
	}
	return nil
}

// makeKeys makes a key pair and has it stored. An empty password means that one
// is made here.
func (w *work) makeKeys(password string) error {
	k := &w.meta.Keys
	made := ""
	if password == "" {
		p, err := GeneratePassword(w.m.env.Rand)
		if err != nil {
			return err
		}
		password, made = p, p
	}
	pair, err := GeneratePrivateKey(w.m.env.Rand)
	if err != nil {
		return err
	}
	blob, err := SealPrivateKey(w.m.env.Rand, pair, password, w.m.self.ID)
	if err != nil {
		return err
	}
	force := k.Phase == PhaseOpen || k.Phase == PhaseLocked
	fresh := force || k.Fresh
	*k = keyState{Phase: PhaseStoring, Public: pair.Public().String(), Blob: blob, Private: pair.Secret(), Password: made, Fresh: fresh}
	w.private = pair
	return w.ask(Req{Kind: ReqSetKeys, Public: k.Public, Private: k.Blob, Force: force})
}

// doneSetKeys has what the server stores read back: a success that keeps nothing
// was seen in the field.
func (w *work) doneSetKeys(_ Req, ans Ans) error {
	k := &w.meta.Keys
	k.Check, k.Wait = true, 0
	switch ans.Code {
	case "", CodeKeysSet:
	default:
		k.Wait = w.later()
		w.trouble("the E2E keys are not stored", ans)
	}
	return nil
}

// opened continues with everything that waited for the private key.
func (w *work) opened() error {
	w.meta.OfferAfter = 0
	if err := w.ask(Req{Kind: ReqRequestKeys}); err != nil {
		return err
	}
	ids, err := w.roomIDs()
	if err != nil {
		return err
	}
	for _, id := range ids {
		r, err := w.room(id)
		if err != nil {
			return err
		}
		if w.meta.Keys.Fresh {
			if err := w.wrapAgain(r); err != nil {
				return err
			}
		}
		if err := w.judgeSuggested(r); err != nil {
			return err
		}
	}
	w.meta.Keys.Fresh = false
	return w.retryAll()
}

// wrapAgain has the key of a room stored for a key pair that is new, if it is here.
func (w *work) wrapAgain(r *room) error {
	list, found, err := e2ee.Load[[]keyRecord](w.tx, keyOf(r.State.ID, r.State.KeyID))
	if err != nil || !found || len(list) == 0 || r.Left {
		return err
	}
	k, err := ParseRoomKey(r.State.KeyID, list[len(list)-1].JWK)
	if err != nil {
		return e2ee.Damaged(keyOf(r.State.ID, r.State.KeyID))
	}
	mine, err := w.openPrivate()
	if err != nil {
		return err
	}
	wrapped, err := k.Wrap(w.m.env.Rand, mine.Public())
	if err != nil {
		return err
	}
	r.State.OwnKey = wrapped
	return w.ask(Req{Kind: ReqOwnRoomKey, Room: r.State.ID, Key: wrapped})
}

// openPrivate returns the private key, or the zero key if it is not here.
func (w *work) openPrivate() (PrivateKey, error) {
	if !w.private.IsZero() || w.meta.Keys.Private == "" {
		return w.private, nil
	}
	k, err := ParsePrivateKey(w.meta.Keys.Private)
	if err != nil {
		return PrivateKey{}, e2ee.Damaged("meta")
	}
	w.private = k
	return k, nil
}

// ready reports whether the key pair is open and the server has it.
func (w *work) ready() bool { return w.meta.Keys.Phase == PhaseOpen }

// Unlock opens the private key that the server keeps with the E2E password. What
// waited comes as events. A wrong password is [ErrPassword]; without a key pair
// it is [ErrNoKeys]. A key blob of v1 is sealed again as v2 under the same
// password, if that may seal.
func (m *Machine) Unlock(tx e2ee.Tx, password string) ([]e2ee.Event, error) {
	return m.run(tx, func(w *work) error {
		k := &w.meta.Keys
		if k.Phase == PhaseOpen {
			// Shows whether the password is the right one.
			_, _, err := OpenPrivateKey(k.Blob, password, w.m.self.ID)
			return err
		}
		if k.Phase != PhaseLocked {
			return ErrNoKeys
		}
		pair, form, err := OpenPrivateKey(k.Blob, password, w.m.self.ID)
		if err != nil {
			return err
		}
		pub, err := ParsePublicKey(k.Public)
		if err != nil || !pair.Public().Equal(pub) {
			return fmt.Errorf("%w: the server's public key does not belong to the private key", ErrTampered)
		}
		k.Private, w.private, k.Phase = pair.Secret(), pair, PhaseOpen
		if form == V1 && CheckPassword(password) == nil && !w.oldServer() {
			if err := w.reseal(pair, password); err != nil {
				return err
			}
		}
		return w.opened()
	})
}

// reseal seals the key pair under a password and has it stored over the old one.
func (w *work) reseal(pair PrivateKey, password string) error {
	k := &w.meta.Keys
	blob, err := SealPrivateKey(w.m.env.Rand, pair, password, w.m.self.ID)
	if err != nil {
		return err
	}
	k.Blob = blob
	return w.ask(Req{Kind: ReqSetKeys, Public: k.Public, Private: blob, Force: true})
}

// ChangePassword seals the key pair under another password.
func (m *Machine) ChangePassword(tx e2ee.Tx, password string) error {
	_, err := m.run(tx, func(w *work) error {
		if !w.ready() {
			return ErrNoKeys
		}
		pair, err := w.openPrivate()
		if err != nil {
			return err
		}
		w.meta.Keys.Password = ""
		return w.reseal(pair, password)
	})
	return err
}

// CreateKeys makes a key pair under a password, or under one that is made here if
// it is empty. reset says that a pair which exists is to be replaced: what was
// sealed for it can then be read only if another member offers its room keys.
func (m *Machine) CreateKeys(tx e2ee.Tx, password string, reset bool) error {
	_, err := m.run(tx, func(w *work) error {
		switch k := w.meta.Keys; {
		case k.Phase == PhaseUnknown:
			return ErrNoKeys
		case k.Phase != PhaseNone && !reset:
			return ErrKeysExist
		}
		return w.makeKeys(password)
	})
	return err
}

// Stored reports whether the server has given back a key blob that a password opens,
// of the pair that is here.
func (m *Machine) Stored(tx e2ee.Tx, password string) (bool, error) {
	have, _, err := e2ee.Load[meta](tx, "meta")
	if err != nil || have.Keys.Phase != PhaseOpen || have.Keys.Check {
		return false, err
	}
	for r, err := range e2ee.Records[Req](tx, "req/") {
		if err != nil {
			return false, err
		}
		if r.Value.Kind == ReqSetKeys || r.Value.Kind == ReqKeys {
			return false, nil
		}
	}
	k, _, err := OpenPrivateKey(have.Keys.Blob, password, have.User)
	if err != nil {
		return false, nil
	}
	mine, err := ParsePrivateKey(have.Keys.Private)
	return err == nil && k.Equal(mine), err
}
