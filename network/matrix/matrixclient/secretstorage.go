package matrixclient

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/client"
	"github.com/quinta-chat/quinta/e2ee"
	"github.com/quinta-chat/quinta/e2ee/matrix"
	"github.com/quinta-chat/quinta/e2ee/secretstorage"
	"github.com/quinta-chat/quinta/key"
	"github.com/quinta-chat/quinta/network/internal/seat"
)

// Types of the account data of secret storage.
const (
	typeDefaultKey = "m.secret_storage.default_key"
	typeKeyPrefix  = "m.secret_storage.key."
)

// A storage is secret storage that was opened.
type storage struct {
	s   *Session
	id  string
	key key.SecretStorageKey
}

// accountData reads account data of a type into v, and reports whether there
// is any.
func (s *Session) accountData(ctx context.Context, typ string, v any) (bool, error) {
	err := s.link.ask(ctx, "reading "+typ, http.MethodGet, path("user", string(s.account.User), "account_data", typ), nil, v)
	if quinta.KindOf(err) == quinta.KindNotFound {
		return false, nil
	}
	return err == nil, err
}

// openStorage opens secret storage with a recovery key or a passphrase, and
// reports whether it could.
func (s *Session) openStorage(ctx context.Context, recovery client.Secret) (storage, bool, error) {
	var def struct {
		Key string `json:"key"`
	}
	if found, err := s.accountData(ctx, typeDefaultKey, &def); err != nil || !found || !validID(def.Key) {
		return storage{}, false, err
	}
	var raw json.RawMessage
	if found, err := s.accountData(ctx, typeKeyPrefix+def.Key, &raw); err != nil || !found {
		return storage{}, false, err
	}
	desc, err := secretstorage.ParseDescription(raw)
	if err != nil {
		return storage{}, false, nil // of a form that no one here can open
	}
	var keys []key.SecretStorageKey
	if k, err := secretstorage.ParseKey(recovery.Reveal()); err == nil {
		keys = append(keys, k)
	}
	var weak error
	if desc.Passphrase != nil {
		k, err := desc.Passphrase.Key(recovery.Reveal())
		switch {
		case err == nil:
			keys = append(keys, k)
		case errors.Is(err, secretstorage.ErrWeak) && len(keys) == 0:
			weak = &quinta.Error{Kind: quinta.KindInvalid, Op: "opening secret storage", Err: fmt.Errorf("%w; use the recovery key", err)}
		}
	}
	i := slices.IndexFunc(keys, func(k key.SecretStorageKey) bool { return desc.MAC != "" && desc.Check(k) == nil })
	if i < 0 {
		return storage{}, false, weak
	}
	return storage{s, def.Key, keys[i]}, true, nil
}

// secret returns what is stored under a name.
func (st storage) secret(ctx context.Context, name string) (secretstorage.Encrypted, error) {
	var raw json.RawMessage
	found, err := st.s.accountData(ctx, name, &raw)
	if err != nil {
		return secretstorage.Encrypted{}, err
	}
	if !found {
		return secretstorage.Encrypted{}, secretstorage.ErrNotStored
	}
	return secretstorage.ParseSecret(raw, st.id)
}

// takeIdentity takes the cross-signing keys out of secret storage.
func (s *Session) takeIdentity(ctx context.Context, st storage) error {
	if err := s.refresh(ctx, s.account.User); err != nil {
		return err
	}
	var c matrix.CrossSigning
	for name, set := range map[string]func([]byte) error{
		secretstorage.NameMaster:      parseInto(&c.Master),
		secretstorage.NameSelfSigning: parseInto(&c.SelfSigning),
		secretstorage.NameUserSigning: parseInto(&c.UserSigning),
	} {
		e, err := st.secret(ctx, name)
		if errors.Is(err, secretstorage.ErrNotStored) {
			continue
		}
		if err != nil {
			return err
		}
		text, err := secretstorage.Open(st.key, name, e)
		if err != nil {
			return &quinta.Error{Kind: quinta.KindInvalid, Op: "opening secret storage", Err: err}
		}
		err = set(text)
		clear(text)
		if err != nil {
			return &quinta.Error{Kind: quinta.KindInvalid, Op: "opening secret storage", Err: err}
		}
	}
	// Keys that are not those which the server lists are refused.
	return trustError("opening secret storage", s.do(ctx, false, func(tx e2ee.Tx) ([]e2ee.Event, error) {
		return s.machine.ImportCrossSigning(tx, c)
	}))
}

func parseInto[R key.SigningRole](k *key.SigningPrivate[R]) func([]byte) error {
	return func(text []byte) (err error) {
		*k, err = key.ParseSigningPrivate[R](string(text))
		return err
	}
}

// putData sets account data of a type.
func (s *Session) putData(ctx context.Context, typ string, v any) error {
	return s.link.ask(ctx, "writing "+typ, http.MethodPut, path("user", string(s.account.User), "account_data", typ), v, nil)
}

// secretsHere returns the secrets that this device has, in the text in which
// they are stored, by name.
func (s *Session) secretsHere(ctx context.Context, backup key.BackupPrivate) (map[string][]byte, error) {
	var c matrix.CrossSigning
	if err := s.look(ctx, func(tx e2ee.Tx) (err error) {
		c, err = s.machine.CrossSigning(tx)
		return err
	}); err != nil {
		return nil, err
	}
	out := map[string][]byte{}
	for _, one := range []struct {
		name   string
		zero   bool
		secret func() []byte
	}{
		{secretstorage.NameMaster, c.Master.IsZero(), c.Master.Secret},
		{secretstorage.NameSelfSigning, c.SelfSigning.IsZero(), c.SelfSigning.Secret},
		{secretstorage.NameUserSigning, c.UserSigning.IsZero(), c.UserSigning.Secret},
		{secretstorage.NameBackup, backup.IsZero(), backup.Secret},
	} {
		if one.zero {
			continue
		}
		b := one.secret()
		out[one.name] = secretstorage.Text(b)
		clear(b)
	}
	return out, nil
}

// createStorage makes secret storage under a new key, and puts the secrets
// into it that this device has. It returns the recovery key.
//
// The secrets are stored under the old key and the new one before the new one
// becomes the default, and under the new one alone after that: an interruption
// at any point leaves storage that its recovery key opens.
func (s *Session) createStorage(ctx context.Context, backup key.BackupPrivate, passphrase client.Secret) (client.Secret, error) {
	k, desc, err := s.newStorageKey(passphrase)
	if err != nil {
		return client.Secret{}, err
	}
	defer k.Wipe()
	name, err := seat.NewTxn(s.env.Rand)
	if err != nil {
		return client.Secret{}, err
	}
	id := string(name)
	secrets, err := s.secretsHere(ctx, backup)
	if err != nil {
		return client.Secret{}, err
	}
	defer func() {
		for _, text := range secrets {
			clear(text)
		}
	}()
	sealed := map[string]secretstorage.Encrypted{}
	for name, text := range secrets {
		if sealed[name], err = secretstorage.Seal(s.env.Rand, k, name, text); err != nil {
			return client.Secret{}, err
		}
	}
	if err := s.putData(ctx, typeKeyPrefix+id, desc); err != nil {
		return client.Secret{}, err
	}
	for name, e := range sealed {
		if err := s.addSecret(ctx, name, id, e); err != nil {
			return client.Secret{}, err
		}
	}
	if err := s.putData(ctx, typeDefaultKey, map[string]string{"key": id}); err != nil {
		return client.Secret{}, err
	}
	for name, e := range sealed {
		if err := s.putData(ctx, name, json.RawMessage(secretstorage.SecretContent(id, e))); err != nil {
			return client.Secret{}, err
		}
	}
	return client.NewSecret(secretstorage.RecoveryKey(k)), nil
}

// newStorageKey makes a storage key, of a passphrase if there is one, and its
// description.
func (s *Session) newStorageKey(passphrase client.Secret) (k key.SecretStorageKey, desc secretstorage.Description, err error) {
	var from *secretstorage.Passphrase
	if passphrase.Empty() {
		k, err = key.GenerateSymmetric[key.SecretStorage](s.env.Rand)
	} else {
		var p secretstorage.Passphrase
		if p, err = secretstorage.NewPassphrase(s.env.Rand); err != nil {
			return k, desc, err
		}
		from = &p
		k, err = p.Key(passphrase.Reveal())
	}
	if err != nil {
		return k, desc, err
	}
	desc, err = secretstorage.Describe(s.env.Rand, k, "", from)
	return k, desc, err
}

// addSecret stores a secret under one more key.
func (s *Session) addSecret(ctx context.Context, name, id string, e secretstorage.Encrypted) error {
	var have struct {
		Encrypted map[string]json.RawMessage `json:"encrypted"`
	}
	if _, err := s.accountData(ctx, name, &have); err != nil && quinta.KindOf(err) != quinta.KindMalformed {
		return err
	}
	b, err := json.Marshal(e)
	if err != nil {
		return err
	}
	under := map[string]json.RawMessage{id: b}
	for other, raw := range have.Encrypted {
		if other != id && len(under) < maxStorageKeys {
			under[other] = raw
		}
	}
	return s.putData(ctx, name, map[string]any{"encrypted": under})
}

// maxStorageKeys bounds under how many keys a secret is stored.
const maxStorageKeys = 8
