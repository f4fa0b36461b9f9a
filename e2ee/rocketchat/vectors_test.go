package rocketchat

import (
	"bytes"
	"crypto/rand"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"os"
	"reflect"
	"strings"
	"sync"
	"testing"
)

// The vectors are described in testdata/README.md.
type vectors struct {
	KeyPairs []struct {
		Public  string `json:"public_key"`
		Private string `json:"private_key"`
	} `json:"key_pairs"`
	Blobs []struct {
		Format, UserID, Password, Blob, Salt string
		KeyPair                              int    `json:"key_pair"`
		Master                               string `json:"master_key_hex"`
		Iterations                           int
	} `json:"private_key_blobs"`
	SessionKeys []struct {
		Format, JWK, KeyID, KeyIDBefore7 string
		MadeBy                           string `json:"made_by"`
		Wrapped                          []struct {
			KeyPair int `json:"key_pair"`
			E2EKey  string
		}
	} `json:"session_keys"`
	Messages []contentRow `json:"messages"`
	Mixed    []contentRow `json:"mixed_messages"`
	Legacy   []struct {
		SessionKey             int `json:"session_key"`
		Msg, MessageID, UserID string
		Text                   string
		PlainKeys              []string `json:"plain_keys"`
	} `json:"legacy_messages"`
	Files []struct {
		SessionKey        int `json:"session_key"`
		Name, Type        string
		Plain, Encrypted  []byte
		EncryptedName     string `json:"encrypted_name"`
		Key               json.RawMessage
		IV, SHA256        string
		MessageContent    json.RawMessage `json:"message_content"`
		FileContent       json.RawMessage `json:"file_content"`
		FileContentPlain  json.RawMessage `json:"file_content_plain"`
		MessageContentRaw json.RawMessage
	} `json:"files"`
	OTR []struct {
		Alice, Bob struct {
			PrivateJWK json.RawMessage `json:"privateJwk"`
			PublicKey  string
		}
		SessionKey string `json:"session_key_hex"`
		Plain      json.RawMessage
		Msg        string
	} `json:"otr"`
	Odd []struct {
		What, Op string
		Args     struct {
			JWK, KeyID       string
			Content          json.RawMessage
			PrivateKey       string `json:"private_key"`
			E2EKey           string
			Blob             json.RawMessage
			Password, UserID string
		}
		Official map[string]struct {
			Accepts bool
			Result  json.RawMessage
		}
	} `json:"odd"`
	Mismatch []map[string]json.RawMessage `json:"password_mismatch"`
	Upstream []struct {
		JWK, KeyID string
		Content    json.RawMessage
		Plain      json.RawMessage
	} `json:"upstream"`
}

type contentRow struct {
	Format     string
	SessionKey int `json:"session_key"`
	Plain      json.RawMessage
	Content    json.RawMessage
}

var loadVectors = sync.OnceValues(func() (*vectors, error) {
	raw, err := os.ReadFile("testdata/rocketchat.json")
	if err != nil {
		return nil, err
	}
	v := new(vectors)
	return v, json.Unmarshal(raw, v)
})

func load(t testing.TB) *vectors {
	t.Helper()
	v, err := loadVectors()
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func (v *vectors) private(t testing.TB, i int) PrivateKey {
	t.Helper()
	k, err := ParsePrivateKey(v.KeyPairs[i].Private)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func (v *vectors) room(t testing.TB, i int) RoomKey {
	t.Helper()
	k, err := ParseRoomKey(v.SessionKeys[i].KeyID, v.SessionKeys[i].JWK)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func sameJSON(t *testing.T, what string, got, want []byte) {
	t.Helper()
	var g, w any
	if err := json.Unmarshal(got, &g); err != nil {
		t.Errorf("%s: got %q, which is not JSON", what, got)
		return
	}
	if err := json.Unmarshal(want, &w); err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(g, w) {
		t.Errorf("%s: got %s, want %s", what, got, want)
	}
}

func TestVectorKeyPairs(t *testing.T) {
	t.Parallel()
	v := load(t)
	if len(v.KeyPairs) != 3 {
		t.Fatalf("got %d key pairs, want 3", len(v.KeyPairs))
	}
	for i, row := range v.KeyPairs {
		k := v.private(t, i)
		p, err := ParsePublicKey(row.Public)
		if err != nil || !p.Equal(k.Public()) {
			t.Errorf("%d: got %v, %v, want the public half", i, p, err)
		}
		sameJSON(t, "public", []byte(p.String()), []byte(row.Public))
		sameJSON(t, "private", []byte(k.Secret()), []byte(row.Private))
	}
}

func TestVectorPrivateKeyBlobs(t *testing.T) {
	t.Parallel()
	v := load(t)
	if len(v.Blobs) != 12 {
		t.Fatalf("got %d blobs, want 12", len(v.Blobs))
	}
	for i, row := range v.Blobs {
		k, form, err := OpenPrivateKey(row.Blob, row.Password, row.UserID)
		if err != nil || !k.Equal(v.private(t, row.KeyPair)) || (form == V1) != (row.Format == "v1") {
			t.Errorf("%d: got form %d, %v, want key pair %d of %s", i, form, err, row.KeyPair, row.Format)
			continue
		}
		b, err := parseBlob(row.Blob, row.UserID)
		if err != nil {
			t.Fatal(err)
		}
		found := false
		for _, pass := range encodings(row.Password) {
			m, err := masterKey(pass, []byte(b.salt), b.iterations)
			found = found || err == nil && hex.EncodeToString(m) == row.Master
		}
		if !found {
			t.Errorf("%d: got another master key than %s", i, row.Master)
		}
	}
}

func TestVectorSessionKeys(t *testing.T) {
	t.Parallel()
	v := load(t)
	for i, row := range v.SessionKeys {
		for _, w := range row.Wrapped {
			k, err := Unwrap(v.private(t, w.KeyPair), w.E2EKey)
			if err != nil || k.ID() != row.KeyID || k.Secret() != row.JWK || (k.Form() == V1) != (row.Format == "v1") {
				t.Errorf("%d, pair %d: got %q, %v, want %q", i, w.KeyPair, k.ID(), err, row.KeyID)
				continue
			}
			again, err := k.Wrap(rand.Reader, v.private(t, w.KeyPair).Public())
			if err != nil {
				t.Fatal(err)
			}
			if back, err := Unwrap(v.private(t, w.KeyPair), again); err != nil || !back.Equal(k) {
				t.Errorf("%d: got %v of what was wrapped again", i, err)
			}
		}
		if row.KeyIDBefore7 != "" && PrefixKeyID(row.JWK) != row.KeyIDBefore7 {
			t.Errorf("%d: got %s, want %s", i, PrefixKeyID(row.JWK), row.KeyIDBefore7)
		}
		if row.Format == "v1" && HashedKeyID(row.JWK) != row.KeyID {
			t.Errorf("%d: got %s, want %s", i, HashedKeyID(row.JWK), row.KeyID)
		}
	}
}

func TestVectorMessages(t *testing.T) {
	t.Parallel()
	v := load(t)
	if len(v.Messages) != 104 || len(v.Mixed) != 6 {
		t.Fatalf("got %d and %d messages, want 104 and 6", len(v.Messages), len(v.Mixed))
	}
	for i, row := range append(v.Messages, v.Mixed...) {
		c, err := ParseContent(row.Content)
		if err != nil {
			t.Errorf("%d: %v", i, err)
			continue
		}
		k := v.room(t, row.SessionKey)
		plain, err := OpenContent(k, c)
		if err != nil || c.RoomKeyID() != k.ID() {
			t.Errorf("%d: got %v under key %q, want %q", i, err, c.RoomKeyID(), k.ID())
			continue
		}
		sameJSON(t, "plain", plain, row.Plain)
		b, err := ParseBody(plain)
		var want struct {
			Msg         string
			Attachments []json.RawMessage
		}
		if jerr := json.Unmarshal(row.Plain, &want); jerr != nil {
			t.Fatal(jerr)
		}
		if err != nil || b.Text != want.Msg || len(b.Attachments) != len(want.Attachments) {
			t.Errorf("%d: got %+v, %v, want %s", i, b, err, row.Plain)
		}
		// The other direction: our own output of the same text.
		own, err := SealContent(rand.Reader, k, TextBody(want.Msg))
		if err != nil {
			t.Fatal(err)
		}
		if back, err := OpenContent(k, own); err != nil || !bytes.Equal(back, TextBody(want.Msg)) {
			t.Errorf("%d: got %q, %v of our own content", i, back, err)
		}
		if (own.Algorithm == AlgorithmV1) != (k.Form() == V1) {
			t.Errorf("%d: got the label %s under a key of form %d", i, own.Algorithm, k.Form())
		}
	}
}

func TestVectorLegacyMessages(t *testing.T) {
	t.Parallel()
	v := load(t)
	if len(v.Legacy) != 6 {
		t.Fatalf("got %d messages, want 6", len(v.Legacy))
	}
	for i, row := range v.Legacy {
		k := v.room(t, row.SessionKey)
		plain, err := OpenString(k, row.Msg)
		if err != nil {
			t.Errorf("%d: %v", i, err)
			continue
		}
		b, err := ParseBody(plain)
		if err != nil || string(b.ID) != row.MessageID || string(b.Sender) != row.UserID || b.Text != row.Text || b.Time.IsZero() {
			t.Errorf("%d: got %+v, %v", i, b, err)
		}
		at := -1
		for _, name := range row.PlainKeys {
			next := bytes.Index(plain, []byte(`"`+name+`":`))
			if next <= at {
				t.Errorf("%d: got %s before its place in %s", i, name, plain)
			}
			at = next
		}
		own := StringBody(b.ID, b.Text, b.Sender, b.Time)
		sameJSON(t, "own", own, plain)
		text, err := SealString(rand.Reader, k, own)
		if err != nil {
			t.Fatal(err)
		}
		if back, err := OpenString(k, text); err != nil || !bytes.Equal(back, own) {
			t.Errorf("%d: got %q, %v of our own message", i, back, err)
		}
	}
}

func TestVectorFiles(t *testing.T) {
	t.Parallel()
	v := load(t)
	if len(v.Files) != 3 {
		t.Fatalf("got %d files, want 3", len(v.Files))
	}
	for i, row := range v.Files {
		enc, _ := json.Marshal(map[string]any{"key": row.Key, "iv": row.IV})
		k, err := ParseFileKey(enc, row.SHA256)
		if err != nil {
			t.Fatal(err)
		}
		var out bytes.Buffer
		if err := OpenFile(&out, k, bytes.NewReader(row.Encrypted)); err != nil || !bytes.Equal(out.Bytes(), row.Plain) {
			t.Errorf("%d: got %q, %v", i, out.Bytes(), err)
		}
		if got := HashName(row.Name); got != row.EncryptedName {
			t.Errorf("%d: got the name %s, want %s", i, got, row.EncryptedName)
		}
		sameJSON(t, "encryption", k.encryption(), enc)
		if row.MessageContent == nil {
			continue
		}
		c, err := ParseContent(row.FileContent)
		if err != nil {
			t.Fatal(err)
		}
		plain, err := OpenContent(v.room(t, row.SessionKey), c)
		if err != nil {
			t.Fatal(err)
		}
		sameJSON(t, "file content", plain, row.FileContentPlain)
		sameJSON(t, "own file content", UploadBody(row.Name, row.Type, k), row.FileContentPlain)
		if c, err = ParseContent(row.MessageContent); err != nil {
			t.Fatal(err)
		}
		if plain, err = OpenContent(v.room(t, row.SessionKey), c); err != nil {
			t.Fatal(err)
		}
		if _, err := ParseBody(plain); err != nil {
			t.Errorf("%d: %v", i, err)
		}
	}
}

func TestVectorUpstream(t *testing.T) {
	t.Parallel()
	for _, row := range load(t).Upstream {
		k, err := ParseRoomKey(row.KeyID, row.JWK)
		if err != nil {
			t.Fatal(err)
		}
		c, err := ParseContent(row.Content)
		if err != nil {
			t.Fatal(err)
		}
		plain, err := OpenContent(k, c)
		if err != nil {
			t.Fatal(err)
		}
		sameJSON(t, "plain", plain, row.Plain)
	}
}

// TestVectorPasswords opens what each client writes for a password that is not
// ASCII.
func TestVectorPasswords(t *testing.T) {
	t.Parallel()
	v, n := load(t), 0
	for _, row := range v.Mismatch {
		var password string
		if err := json.Unmarshal(row["password"], &password); err != nil {
			t.Fatal(err)
		}
		for name, raw := range row {
			var e struct {
				Blob, UserID string
				KeyPair      int `json:"key_pair"`
			}
			if name == "password" || json.Unmarshal(raw, &e) != nil || e.Blob == "" {
				continue
			}
			n++
			if k, _, err := OpenPrivateKey(e.Blob, password, e.UserID); err != nil || !k.Equal(v.private(t, e.KeyPair)) {
				t.Errorf("%s of %s: got %v", name, password, err)
			}
		}
		if err := CheckPassword(password + "and more"); !errors.Is(err, ErrUnsupported) {
			t.Errorf("%s: got %v, want a refusal to write it", password, err)
		}
	}
	if n != 6 {
		t.Errorf("got %d blobs, want 6", n)
	}
}

// stricter are the rows that some official client takes and that are refused here.
var stricter = map[string]error{
	"v1 other key ID":              ErrOtherKey,
	"v2 other key ID":              ErrOtherKey,
	"wrapped key without key ID":   ErrMalformed,
	"session key without alg":      ErrUnsupported,
	"session key alg A128GCM":      ErrUnsupported,
	"v2 session key of 16 bytes":   ErrMalformed,
	"private key v2, no salt":      ErrMalformed,
	"private key v1, wrong user":   ErrPassword,
	"unknown algorithm":            ErrUnsupported,
	"OAEP with SHA-1":              ErrTampered,
	"wrapped key for another user": ErrTampered,
}

// TestAttackVectorOdd offers every malformed input of the vectors.
func TestAttackVectorOdd(t *testing.T) {
	t.Parallel()
	v := load(t)
	if len(v.Odd) != 49 {
		t.Fatalf("got %d rows, want 49", len(v.Odd))
	}
	for _, row := range v.Odd {
		var err error
		switch row.Op {
		case "decryptMessage":
			var k RoomKey
			if k, err = ParseRoomKey(row.Args.KeyID, row.Args.JWK); err != nil {
				t.Fatal(err)
			}
			var c Content
			if c, err = ParseContent(row.Args.Content); err == nil {
				_, err = OpenContent(k, c)
			}
		case "unwrapKey":
			var p PrivateKey
			if p, err = ParsePrivateKey(row.Args.PrivateKey); err != nil {
				t.Fatal(err)
			}
			_, err = Unwrap(p, row.Args.E2EKey)
		case "decodePrivateKey":
			blob := string(row.Args.Blob)
			if strings.HasPrefix(blob, `"`) {
				if err := json.Unmarshal(row.Args.Blob, &blob); err != nil {
					t.Fatal(err)
				}
			}
			_, _, err = OpenPrivateKey(blob, row.Args.Password, row.Args.UserID)
		default:
			t.Fatalf("unknown operation %q", row.Op)
		}
		all := true
		for _, o := range row.Official {
			all = all && o.Accepts
		}
		want, strict := stricter[row.What]
		switch {
		case strict && !errors.Is(err, want):
			t.Errorf("%s: got %v, want %v", row.What, err, want)
		case !strict && (err == nil) != all:
			t.Errorf("%s: got %v, want accepted %v", row.What, err, all)
		}
		if err != nil && !errors.Is(err, ErrMalformed) && !errors.Is(err, ErrTampered) && !errors.Is(err, ErrUnsupported) && !errors.Is(err, ErrOtherKey) && !errors.Is(err, ErrPassword) {
			t.Errorf("%s: got %v, which is none of the errors of the forms", row.What, err)
		}
	}
}

func mustDecode(t testing.TB, text string) []byte {
	t.Helper()
	b, err := base64.StdEncoding.DecodeString(text)
	if err != nil {
		t.Fatal(err)
	}
	return b
}
