// Package matrix runs the vectors of the Matrix network's forms: each is given to
// the reader of its kind, which accepts or refuses it as the file says. The
// packages that own the forms run them in their tests.
package matrix

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/e2ee/attachment"
	"github.com/quinta-chat/quinta/e2ee/keybackup"
	"github.com/quinta-chat/quinta/e2ee/keyexport"
	"github.com/quinta-chat/quinta/e2ee/megolm"
	"github.com/quinta-chat/quinta/e2ee/olm"
	"github.com/quinta-chat/quinta/e2ee/sas"
	"github.com/quinta-chat/quinta/e2ee/secretstorage"
	"github.com/quinta-chat/quinta/internal/canonicaljson"
	"github.com/quinta-chat/quinta/key"
	"github.com/quinta-chat/quinta/testkit/vectors"
)

// Suite is how the vectors of this folder are run.
var Suite = vectors.Suite{Inputs: inputs, Refusals: refusals, Kinds: kinds}

// inputs are the head lines of all kinds.
var inputs = []string{"account", "one-time", "fallback", "sender", "before", "type", "session-key", "key", "passphrase", "room", "session", "secret",
	"user", "key-id", "public", "commitment", "file", "plain", "devices", "sessions"}

// refusals are the names of refusals, with the errors that they stand for.
var refusals = map[string][]error{
	"malformed": {olm.ErrMalformed, megolm.ErrMalformed, keybackup.ErrMalformed, secretstorage.ErrMalformed, attachment.ErrFormat, keyexport.ErrFormat, sas.ErrQR,
		canonicaljson.ErrNotObject, unread(quinta.ReasonMalformed)},
	"version":              {olm.ErrVersion, megolm.ErrVersion},
	"bad mac":              {olm.ErrBadMAC, megolm.ErrBadMAC, keybackup.ErrOpen, secretstorage.ErrOpen, keyexport.ErrPassphrase},
	"bad hash":             {attachment.ErrHash},
	"bad signature":        {megolm.ErrBadSignature, canonicaljson.ErrBadSignature},
	"no signature":         {canonicaljson.ErrNoSignature},
	"weak key":             {key.ErrWeak, sas.ErrKey},
	"unknown one-time key": {olm.ErrUnknownOneTimeKey},
	"sender mismatch":      {olm.ErrSenderMismatch, unread(quinta.ReasonSenderMismatch)},
	"no message key":       {olm.ErrNoMessageKey},
	"replayed":             {olm.ErrReplayed, unread(quinta.ReasonReplayed)},
	"too far ahead":        {olm.ErrSkipTooFar},
	"unknown index":        {megolm.ErrUnknownIndex},
	"too large":            {keyexport.ErrTooLarge, attachment.ErrTooLarge},
	"mismatch":             {keybackup.ErrMismatch, secretstorage.ErrMismatch, errCommitment},
	"weak":                 {secretstorage.ErrWeak, keyexport.ErrWeak},
	"unsupported":          {secretstorage.ErrUnsupported, unread(quinta.ReasonUnsupported)},
	"tampered":             {unread(quinta.ReasonTampered)},
	"no key":               {unread(quinta.ReasonNoKeyYet), unread(quinta.ReasonBeforeThisDevice)},
	"key too new":          {unread(quinta.ReasonKeyTooNew)},
	"plain":                {marked(quinta.WeakPlain)},
	"unknown device":       {marked(quinta.WeakUnknownDevice)},
	"not taken":            {errNotTaken},
	"key changed":          {errKeyChanged},
	"not stored":           {secretstorage.ErrNotStored},
	"not json":             {canonicaljson.ErrNotJSON},
	"not canonical":        {canonicaljson.ErrNotCanonical},
	sas.CodeKeyMismatch:    {cancelled(sas.CodeKeyMismatch)},
	sas.CodeInvalidMessage: {cancelled(sas.CodeInvalidMessage)},
	sas.CodeCommitment:     {cancelled(sas.CodeCommitment)},
	sas.CodeUnknownMethod:  {cancelled(sas.CodeUnknownMethod)},
}

// kinds are the readers: each gets a vector and returns what comes out.
var kinds = map[string]vectors.Reader{
	"olm-message": func(_ *testing.T, f *vectors.File) ([]byte, error) {
		_, err := olm.ParseMessage(f.Body)
		return nil, err
	},
	"olm-prekey-message": func(_ *testing.T, f *vectors.File) ([]byte, error) {
		_, err := olm.ParsePreKeyMessage(f.Body)
		return nil, err
	},
	"olm-open": olmOpen,
	"megolm-message": func(_ *testing.T, f *vectors.File) ([]byte, error) {
		_, err := megolm.ParseMessage(f.Body)
		return nil, err
	},
	"megolm-session-key": func(_ *testing.T, f *vectors.File) ([]byte, error) {
		_, err := megolm.NewInbound(f.Body)
		return nil, err
	},
	"megolm-export": func(_ *testing.T, f *vectors.File) ([]byte, error) {
		_, err := megolm.Import(f.Body)
		return nil, err
	},
	"megolm-open":    megolmOpen,
	"canonical-json": func(_ *testing.T, f *vectors.File) ([]byte, error) { return canonicaljson.Canonical(f.Body) },
	"signed-object":  signedObject,
	"key-export":     keyExport,
	"key-backup":     keyBackup,
	"secret":         secret,
	"secret-signing": secretSigning,
	"secret-key":     secretKey,
	"attachment":     file,
	"sas-qr": func(_ *testing.T, f *vectors.File) ([]byte, error) {
		_, err := sas.ParseQR(f.Body)
		return nil, err
	},
	"sas-key":        sasKey,
	"sas-commitment": sasCommitment,
	"sas-flow":       sasFlow,
	"room-event":     roomEvent,
	"device-list":    deviceList,
}

// account returns the account of a vector: the private keys are handed to it
// as its randomness.
func account(t *testing.T, f *vectors.File) *olm.Account {
	t.Helper()
	a := must[*olm.Account](t)(olm.NewAccount(bytes.NewReader(vectors.Input(t, f, "account"))))
	if one := vectors.Input(t, f, "one-time"); one != nil {
		if err := a.GenerateOneTimeKeys(bytes.NewReader(one), len(one)/key.Size); err != nil {
			t.Fatal(err)
		}
	}
	if one := vectors.Input(t, f, "fallback"); len(one) > 0 {
		if err := a.GenerateFallbackKey(bytes.NewReader(one)); err != nil {
			t.Fatal(err)
		}
	}
	return a
}

// olmOpen opens the messages that came before, which must succeed, and then
// that of the vector. Sessions are forgotten where "before" says so.
func olmOpen(t *testing.T, f *vectors.File) ([]byte, error) {
	a := account(t, f)
	sender := must[key.IdentityPublic](t)(key.NewAgreementPublic[key.Identity](vectors.Input(t, f, "sender")))
	var s *olm.Session
	open := func(typ string, body []byte) ([]byte, error) {
		if typ == "1" {
			m, err := olm.ParseMessage(body)
			if err != nil {
				return nil, err
			}
			return s.Open(m)
		}
		m, err := olm.ParsePreKeyMessage(body)
		if err != nil {
			return nil, err
		}
		if s != nil && s.Matches(m) {
			return s.Open(&m.Message)
		}
		made, plain, err := a.NewInbound(sender, m)
		if err == nil {
			s = made
		}
		return plain, err
	}
	for one := range strings.FieldsSeq(f.Inputs["before"]) {
		if one == "forget" {
			s = nil
			continue
		}
		typ, text, _ := strings.Cut(one, ":")
		if _, err := open(typ, must[[]byte](t)(base64.StdEncoding.DecodeString(text))); err != nil {
			t.Fatalf("a message before: %v", err)
		}
	}
	state := a.Encode()
	plain, err := open(f.Inputs["type"], f.Body)
	if err != nil && !bytes.Equal(state, a.Encode()) {
		t.Error("a refused message changed the account")
	}
	return plain, err
}

func megolmOpen(t *testing.T, f *vectors.File) ([]byte, error) {
	in := must[*megolm.Inbound](t)(megolm.NewInbound(vectors.Input(t, f, "session-key")))
	m, err := megolm.ParseMessage(f.Body)
	if err != nil {
		return nil, err
	}
	return in.Open(m)
}

func signedObject(t *testing.T, f *vectors.File) ([]byte, error) {
	k, err := key.NewSigningPublic[key.Device](vectors.Input(t, f, "public"))
	if err != nil {
		return nil, err
	}
	return nil, canonicaljson.Verify(f.Body, f.Inputs["user"], f.Inputs["key-id"], k.Verify)
}

func keyExport(_ *testing.T, f *vectors.File) ([]byte, error) {
	sessions, _, err := keyexport.Open(f.Body, f.Inputs["passphrase"])
	if err != nil {
		return nil, err
	}
	var keys []byte
	for _, s := range sessions {
		keys = append(keys, s.SessionKey...)
	}
	return keys, nil
}

func keyBackup(t *testing.T, f *vectors.File) ([]byte, error) {
	k := must[key.BackupPrivate](t)(key.NewAgreementPrivate[key.Backup](vectors.Input(t, f, "key")))
	var d keybackup.SessionData
	if err := json.Unmarshal(f.Body, &d); err != nil {
		return nil, err
	}
	s, err := keybackup.Open(k, quinta.RoomID(f.Inputs["room"]), f.Inputs["session"], d)
	return []byte(s.SessionKey), err
}

func secret(t *testing.T, f *vectors.File) ([]byte, error) {
	k := must[key.SecretStorageKey](t)(key.NewSymmetric[key.SecretStorage](vectors.Input(t, f, "key")))
	e, err := secretstorage.ParseSecret(f.Body, f.Inputs["key-id"])
	if err != nil {
		return nil, err
	}
	return secretstorage.Open(k, f.Inputs["secret"], e)
}

func secretSigning(t *testing.T, f *vectors.File) ([]byte, error) {
	k := must[key.SecretStorageKey](t)(key.NewSymmetric[key.SecretStorage](vectors.Input(t, f, "key")))
	public := must[key.MasterPublic](t)(key.NewSigningPublic[key.Master](vectors.Input(t, f, "public")))
	e, err := secretstorage.ParseSecret(f.Body, f.Inputs["key-id"])
	if err != nil {
		return nil, err
	}
	private, err := secretstorage.OpenSigning(k, f.Inputs["secret"], e, public)
	if err != nil {
		return nil, err
	}
	return private.Secret(), nil
}

func secretKey(t *testing.T, f *vectors.File) ([]byte, error) {
	d, err := secretstorage.ParseDescription(f.Body)
	if err != nil {
		return nil, err
	}
	if p := f.Inputs["passphrase"]; p != "" {
		k, err := d.Passphrase.Key(p)
		if err != nil {
			return nil, err
		}
		return nil, d.Check(k)
	}
	return nil, d.Check(must[key.SecretStorageKey](t)(key.NewSymmetric[key.SecretStorage](vectors.Input(t, f, "key"))))
}

// storage is a place for a received file.
type storage struct{ bytes.Buffer }

func (m *storage) ReadAt(p []byte, off int64) (int, error) {
	return bytes.NewReader(m.Bytes()).ReadAt(p, off)
}

// maxFile is the reader's limit for a file in bytes.
const maxFile = 1000

func file(t *testing.T, f *vectors.File) ([]byte, error) {
	d, err := attachment.Parse([]byte(f.Inputs["file"]))
	if err != nil {
		return nil, err
	}
	r, err := attachment.Receive(d, bytes.NewReader(f.Body), maxFile, &storage{})
	if err != nil {
		return nil, err
	}
	return io.ReadAll(r)
}

func sasKey(t *testing.T, f *vectors.File) ([]byte, error) {
	k := must[key.VerificationPrivate](t)(key.NewAgreementPrivate[key.Verification](vectors.Input(t, f, "key")))
	p, err := key.NewAgreementPublic[key.Verification](f.Body)
	if err != nil {
		return nil, err
	}
	_, err = sas.Agree(k, p)
	return nil, err
}

// errCommitment is the refusal of a key that is not the one committed to.
var errCommitment = errors.New("the key is not the one that was committed to")

func sasCommitment(t *testing.T, f *vectors.File) ([]byte, error) {
	p, err := key.NewAgreementPublic[key.Verification](vectors.Input(t, f, "public"))
	if err != nil {
		return nil, err
	}
	got, err := sas.Commitment(p, f.Body)
	if err == nil && got != f.Inputs["commitment"] {
		err = errCommitment
	}
	return nil, err
}

// must returns v, or ends the test.
func must[T any](t testing.TB) func(v T, err error) T {
	return func(v T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}
