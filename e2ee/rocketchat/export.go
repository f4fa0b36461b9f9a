package rocketchat

import (
	"fmt"
	"io"
	"strings"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/e2ee"
	"github.com/quinta-chat/quinta/internal/exactjson"
)

// The form of a key file: JSON, sealed as a key blob is, with more rounds, since a
// file can be guessed at in peace.
const (
	exportForm    = "quinta-rocketchat-keys/1"
	exportRounds  = 600_000
	maxExport     = 64 << 20
	maxExportKeys = 100_000
	saltSize      = 16
)

// An exportFile is a key file. The form is authenticated with what is sealed.
type exportFile struct {
	Form       string `json:"form"`
	Iterations int    `json:"iterations"`
	Salt       []byte `json:"salt"`
	IV         []byte `json:"iv"`
	Ciphertext []byte `json:"ciphertext"`
}

// exported is what a key file holds.
type exported struct {
	// Private is the JWK of the user's private key, "" if it was not open.
	Private string        `json:"private,omitempty"`
	Rooms   []exportedKey `json:"rooms"`
}

// An exportedKey is one room key.
type exportedKey struct {
	Room quinta.RoomID `json:"room"`
	keyRecord
}

// String hides the keys.
func (exported) String() string { return "[redacted]" }

// GoString hides the keys.
func (exported) GoString() string { return "[redacted]" }

// ExportKeys returns all room keys that are here or that the key pair opens, and the
// pair itself, sealed under a passphrase, and how many keys there are. The passphrase
// must pass [CheckPassword].
func (m *Machine) ExportKeys(tx e2ee.Tx, passphrase string) (file []byte, n int, err error) {
	if err := CheckPassword(passphrase); err != nil {
		return nil, 0, err
	}
	_, err = m.run(tx, func(w *work) error {
		all := exported{Rooms: []exportedKey{}}
		if w.ready() {
			all.Private = w.meta.Keys.Private
			n++
			if err := w.unwrapAll(); err != nil {
				return err
			}
		}
		for rec, err := range e2ee.Records[[]keyRecord](w.tx, "key/") {
			if err != nil {
				return err
			}
			id, _, _ := strings.Cut(rec.Name, "/")
			for _, k := range rec.Value {
				all.Rooms = append(all.Rooms, exportedKey{quinta.RoomID(id), k})
			}
		}
		n += len(all.Rooms)
		file, err = sealExport(m.env.Rand, e2ee.JSON(all), passphrase)
		return err
	})
	return file, n, err
}

// unwrapAll opens every room key that the server keeps for this user.
func (w *work) unwrapAll() error {
	ids, err := w.roomIDs()
	if err != nil {
		return err
	}
	for _, id := range ids {
		r, err := w.room(id)
		if err != nil {
			return err
		}
		list := []string{r.State.KeyID}
		for _, o := range r.State.Old {
			list = append(list, o.KeyID)
		}
		for _, keyID := range list {
			if CheckKeyID(keyID) != nil {
				continue
			}
			if _, err := w.keys(r, keyID); err != nil {
				return err
			}
		}
	}
	return nil
}

func sealExport(rand io.Reader, plain []byte, passphrase string) ([]byte, error) {
	f := exportFile{Form: exportForm, Iterations: exportRounds, Salt: make([]byte, saltSize), IV: make([]byte, gcmIV)}
	for _, b := range [][]byte{f.Salt, f.IV} {
		if _, err := io.ReadFull(rand, b); err != nil {
			return nil, fmt.Errorf("rocketchat: sealing a key file: %w", err)
		}
	}
	key, err := masterKey([]byte(passphrase), f.Salt, f.Iterations)
	if err != nil {
		return nil, err
	}
	defer clear(key)
	defer clear(plain)
	f.Ciphertext = newGCM(key).Seal(nil, f.IV, plain, []byte(exportForm))
	return append(e2ee.JSON(f), '\n'), nil
}

// openExport opens a key file. A wrong passphrase is [ErrPassword].
func openExport(file []byte, passphrase string) (all exported, err error) {
	var f exportFile
	if len(file) > maxExport || exactjson.Unmarshal(file, &f) != nil || f.Form != exportForm || len(f.Salt) != saltSize || len(f.IV) != gcmIV {
		return all, fmt.Errorf("%w: this is not a key file of this network", ErrMalformed)
	}
	if f.Iterations < exportRounds || f.Iterations > maxIterations {
		return all, fmt.Errorf("%w: a key file of %d rounds", ErrWeak, f.Iterations)
	}
	if len(passphrase) > maxPassword {
		return all, ErrPassword
	}
	key, err := masterKey([]byte(passphrase), f.Salt, f.Iterations)
	if err != nil {
		return all, err
	}
	defer clear(key)
	plain, err := newGCM(key).Open(nil, f.IV, f.Ciphertext, []byte(exportForm))
	if err != nil {
		return all, ErrPassword
	}
	defer clear(plain)
	if exactjson.Unmarshal(plain, &all) != nil || len(all.Rooms) > maxExportKeys {
		return exported{}, fmt.Errorf("%w: the keys of a key file", ErrMalformed)
	}
	return all, nil
}

// ImportKeys takes in a key file and returns how many of its keys were new. What
// becomes readable comes as events. A key pair is taken only if it is the one whose
// public key the server has and that is locked here; a room key never takes the place
// of another.
func (m *Machine) ImportKeys(tx e2ee.Tx, file []byte, passphrase string) (n int, events []e2ee.Event, err error) {
	all, err := openExport(file, passphrase)
	if err != nil {
		return 0, nil, err
	}
	events, err = m.run(tx, func(w *work) error {
		for _, e := range all.Rooms {
			fresh, err := w.importKey(e)
			if err != nil {
				return err
			}
			if fresh {
				n++
			}
		}
		opened, err := w.importPair(all.Private)
		if err != nil {
			return err
		}
		if opened {
			n++
			return w.opened() // which also tries again what waits
		}
		return w.retryAll()
	})
	return n, events, err
}

// importKey keeps a room key of a file, and reports whether it was new.
func (w *work) importKey(e exportedKey) (bool, error) {
	k, err := ParseRoomKey(e.KeyID, e.JWK)
	if err != nil || !validID(string(e.Room)) || strings.Contains(e.KeyID, "/") {
		return false, fmt.Errorf("%w: a room key of a key file", ErrMalformed)
	}
	name := keyOf(e.Room, e.KeyID)
	was, err := w.tx.Get(name)
	if err != nil {
		return false, err
	}
	if _, err := w.keepKey(&room{State: RoomState{ID: e.Room}}, k, e.At); err != nil {
		return false, err
	}
	now, err := w.tx.Get(name)
	return string(now) != string(was), err
}

// importPair opens a locked key pair with the private key of a file.
func (w *work) importPair(private string) (bool, error) {
	k := &w.meta.Keys
	if private == "" || k.Phase != PhaseLocked {
		return false, nil
	}
	pair, err := ParsePrivateKey(private)
	if err != nil {
		return false, fmt.Errorf("%w: the key pair of a key file", ErrMalformed)
	}
	pub, err := ParsePublicKey(k.Public)
	if err != nil || !pair.Public().Equal(pub) {
		return false, nil // of another time or another account
	}
	k.Private, w.private, k.Phase = pair.Secret(), pair, PhaseOpen
	return true, nil
}

// ReadExport reads a key file up to the size that one can have.
func ReadExport(r io.Reader) ([]byte, error) {
	b, err := io.ReadAll(io.LimitReader(r, maxExport+1))
	if err == nil && len(b) > maxExport {
		err = fmt.Errorf("%w: a key file of more than %d bytes", ErrMalformed, maxExport)
	}
	return b, err
}
