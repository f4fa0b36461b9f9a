package keysrv

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/pbkdf2"
	"crypto/sha512"
	"fmt"
	"io"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/e2ee"
	"github.com/quinta-chat/quinta/internal/exactjson"
	"github.com/quinta-chat/quinta/key"
)

// The form of a key file: JSON, sealed with AES-256-GCM under a key that
// PBKDF2-HMAC-SHA-512 derives from the passphrase.
const (
	exportForm      = "quinta-keysrv-keys/1"
	exportRounds    = 600_000
	maxExportRounds = 10_000_000
	exportSalt      = 16
	maxExport       = 64 << 20
	maxExportKeys   = 100_000
	// minPassphrase and maxPassphrase bound a passphrase in bytes.
	minPassphrase = 8
	maxPassphrase = 1024
)

// An exportFile is a key file. The form is authenticated with what is sealed.
type exportFile struct {
	Form       string `json:"form"`
	Iterations int    `json:"iterations"`
	Salt       []byte `json:"salt"`
	Nonce      []byte `json:"nonce"`
	Ciphertext []byte `json:"ciphertext"`
}

// exported is what a key file holds.
type exported struct {
	User quinta.UserID `json:"user"`
	Keys []keyRecord   `json:"keys"`
}

// Format hides the keys.
func (e exported) Format(s fmt.State, _ rune) { io.WriteString(s, "the keys of "+string(e.User)) }

// ExportKeys returns the keys of all conversations, sealed under a passphrase of 8
// to 1024 bytes, and how many there are.
func (m *Machine) ExportKeys(tx e2ee.Tx, passphrase string) (file []byte, n int, err error) {
	if len(passphrase) < minPassphrase || len(passphrase) > maxPassphrase {
		return nil, 0, quinta.E(quinta.KindInvalid, "exporting keys", "a passphrase has at least 8 characters")
	}
	_, err = m.run(tx, func(w *work) error {
		all := exported{User: m.user, Keys: []keyRecord{}}
		for r, err := range e2ee.Records[keyRecord](w.tx, "key/") {
			if err != nil {
				return err
			}
			all.Keys = append(all.Keys, r.Value)
		}
		n = len(all.Keys)
		file, err = sealExport(m.env.Rand, e2ee.JSON(&all), passphrase)
		return err
	})
	return file, n, err
}

func sealExport(rand io.Reader, plain []byte, passphrase string) ([]byte, error) {
	defer clear(plain)
	f := exportFile{Form: exportForm, Iterations: exportRounds, Salt: make([]byte, exportSalt), Nonce: make([]byte, nonceSize)}
	for _, b := range [][]byte{f.Salt, f.Nonce} {
		if _, err := io.ReadFull(rand, b); err != nil {
			return nil, fmt.Errorf("keysrv: sealing a key file: %w", err)
		}
	}
	aead, err := f.cipher(passphrase)
	if err != nil {
		return nil, err
	}
	f.Ciphertext = aead.Seal(nil, f.Nonce, plain, []byte(exportForm))
	return append(e2ee.JSON(&f), '\n'), nil
}

func (f *exportFile) cipher(passphrase string) (cipher.AEAD, error) {
	k, err := pbkdf2.Key(sha512.New, passphrase, f.Salt, f.Iterations, key.Size)
	if err != nil {
		return nil, fmt.Errorf("keysrv: a key file: %w", err)
	}
	defer clear(k)
	block, err := aes.NewCipher(k)
	if err != nil {
		return nil, fmt.Errorf("keysrv: a key file: %w", err)
	}
	return cipher.NewGCM(block)
}

// openExport opens a key file. A wrong passphrase is KindUnauthenticated.
func openExport(file []byte, passphrase string) (*exported, error) {
	var f exportFile
	switch {
	case len(file) > maxExport || exactjson.Unmarshal(file, &f) != nil || f.Form != exportForm || len(f.Salt) != exportSalt || len(f.Nonce) != nonceSize:
		return nil, fmt.Errorf("%w: this is not a key file of this network", ErrMalformed)
	case f.Iterations < exportRounds || f.Iterations > maxExportRounds:
		return nil, fmt.Errorf("%w: a key file of %d rounds", ErrUnsupported, f.Iterations)
	case len(passphrase) > maxPassphrase:
		return nil, errPassphrase
	}
	aead, err := f.cipher(passphrase)
	if err != nil {
		return nil, err
	}
	plain, err := aead.Open(nil, f.Nonce, f.Ciphertext, []byte(exportForm))
	if err != nil {
		return nil, errPassphrase
	}
	defer clear(plain)
	all := &exported{}
	if exactjson.Unmarshal(plain, all) != nil || len(all.Keys) > maxExportKeys {
		return nil, fmt.Errorf("%w: the keys of a key file", ErrMalformed)
	}
	return all, nil
}

var errPassphrase = quinta.E(quinta.KindUnauthenticated, "importing keys", "the passphrase is wrong, or the file was altered")

// ImportKeys takes in a key file of the same user and returns how many of its
// keys were new. What becomes readable comes as events. A key never takes the
// place of another. Messages under an imported key are marked: the file's word
// stands for the creator's signature.
func (m *Machine) ImportKeys(tx e2ee.Tx, file []byte, passphrase string) (n int, events []e2ee.Event, err error) {
	all, err := openExport(file, passphrase)
	if err != nil {
		return 0, nil, err
	}
	if all.User != m.user {
		return 0, nil, fmt.Errorf("%w: the key file belongs to another user", ErrMismatch)
	}
	events, err = m.run(tx, func(w *work) error {
		for i := range all.Keys {
			fresh, err := w.importKey(&all.Keys[i])
			if err != nil {
				return err
			}
			if fresh {
				n++
			}
		}
		return w.tryAgain()
	})
	return n, events, err
}

// importKey keeps a key of a file, and reports whether it was new.
func (w *work) importKey(k *keyRecord) (bool, error) {
	s := &k.Statement
	id := s.Conversation == DirectID(w.m.user, quinta.UserID(k.Room)) || s.Conversation == RoomID(k.Room)
	secret, err := key.NewSymmetric[key.Conversation](k.Key)
	switch {
	case err != nil || CheckObjectID(k.ID) != nil || k.ID != s.ObjectID || CheckJID(quinta.UserID(k.Room)) != nil || k.Mode.Check() != nil || s.Suite != SuiteGCM || !id,
		k.Mode == ModeSealed && !s.Holds(secret):
		return false, fmt.Errorf("%w: a key of a key file", ErrMalformed)
	}
	have, err := w.loadKey(k.ID)
	if err != nil || have != nil {
		return false, err
	}
	c, err := w.conv(k.Room)
	if err != nil || c != nil && (c.Mode != k.Mode || s.Conversation != w.convID(k.Room)) {
		return false, err // of a conversation that is another one here
	}
	k.Imported = true
	if err := w.tx.Delete(needKey(k.ID)); err != nil {
		return false, err
	}
	w.retry(waitKey + k.ID)
	return true, e2ee.Store(w.tx, keyKey(k.ID), k)
}

// ReadExport reads a key file up to the size that one can have.
func ReadExport(r io.Reader) ([]byte, error) {
	b, err := io.ReadAll(io.LimitReader(r, maxExport+1))
	if err == nil && len(b) > maxExport {
		err = fmt.Errorf("%w: a key file of more than %d bytes", ErrMalformed, maxExport)
	}
	return b, err
}
