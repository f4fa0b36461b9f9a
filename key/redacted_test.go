package key_test

import (
	"bytes"
	"encoding/gob"
	"encoding/hex"
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"log/slog"
	"reflect"
	"strings"
	"testing"

	"github.com/quinta-chat/quinta/internal/base64text"
	"github.com/quinta-chat/quinta/key"
)

// seed is a secret whose bytes are easy to find in any print.
var seed = []byte("\xa1\xb2\xc3\xd4secret-secret-secret-abcdefg\xe5")[:32]

// A hider keeps a key where fmt cannot ask its methods.
type hider[K any] struct{ k K }

type private interface {
	fmt.Stringer
	IsZero() bool
	Secret() []byte
	Wipe()
}

func signing[R key.SigningRole](t *testing.T) private {
	t.Helper()
	k, err := key.NewSigningPrivate[R](seed)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func agreement[R key.AgreementRole](t *testing.T) private {
	t.Helper()
	k, err := key.NewAgreementPrivate[R](seed)
	if err != nil {
		t.Fatal(err)
	}
	k.Public()
	return k
}

func symmetric[R key.SymmetricRole](t *testing.T) private {
	t.Helper()
	k, err := key.NewSymmetric[R](seed)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// everyPrivate has one key of every private type of the package.
func everyPrivate(t *testing.T) []private {
	return []private{
		signing[key.Device](t), signing[key.Master](t), signing[key.SelfSigning](t),
		signing[key.UserSigning](t), signing[key.MegolmSession](t),
		agreement[key.Identity](t), agreement[key.OneTime](t), agreement[key.Fallback](t),
		agreement[key.Base](t), agreement[key.Ratchet](t), agreement[key.Backup](t),
		agreement[key.Verification](t),
		symmetric[key.SecretStorage](t), symmetric[key.Attachment](t), symmetric[key.Dehydration](t), symmetric[key.Conversation](t),
	}
}

// leaks reports whether out holds a piece of the seed in any usual form.
func leaks(out string) bool {
	low := strings.ToLower(out)
	return strings.Contains(out, string(seed[4:12])) ||
		strings.Contains(low, hex.EncodeToString(seed[4:12])) ||
		strings.Contains(out, base64text.Encode(seed)[6:16]) ||
		strings.Contains(out, "115 101 99 114 101 116") || // decimal bytes
		strings.Contains(out, "115, 101, 99") ||
		strings.Contains(low, "0x73, 0x65, 0x63") ||
		strings.Contains(low, "73 65 63 72 65 74")
}

func TestLeaksFindsASecret(t *testing.T) {
	t.Parallel()
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%x", "%X", "% x", "%q", "%d"} {
		if out := fmt.Sprintf(verb, seed); !leaks(out) {
			t.Errorf("%s: got %q unnoticed, want a leak seen", verb, out)
		}
	}
	if out := base64text.Encode(seed); !leaks(out) {
		t.Errorf("got %q unnoticed, want a leak seen", out)
	}
}

func TestPrivateKeysDoNotPrint(t *testing.T) {
	t.Parallel()
	for _, k := range everyPrivate(t) {
		name := fmt.Sprintf("%T", k)
		ptr := reflect.New(reflect.TypeOf(k))
		ptr.Elem().Set(reflect.ValueOf(k))
		for _, v := range []any{k, ptr.Interface(), []any{k}, map[string]any{"k": k}, struct{ K any }{k}} {
			for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%x", "%X", "% x", "%q", "%d", "%t", "%b"} {
				out := fmt.Sprintf(verb, v)
				if leaks(out) || !strings.Contains(out, "[redacted]") {
					t.Errorf("%s, %s: got %q, want [redacted]", name, verb, out)
				}
			}
			for _, out := range []string{logged(t, v, false), logged(t, v, true), asJSON(t, v)} {
				if leaks(out) || !strings.Contains(out, "[redacted]") {
					t.Errorf("%s: got %q, want [redacted]", name, out)
				}
			}
		}
		if out := fmt.Sprint(k) + k.String() + fmt.Sprintln(k); strings.Count(out, "[redacted]") != 3 {
			t.Errorf("%s: got %q, want [redacted] three times", name, out)
		}
	}
}

// TestHiddenPrivateKeysDoNotPrint prints structs that hold keys in unexported
// fields: fmt then walks the bytes and calls no method.
func TestHiddenPrivateKeysDoNotPrint(t *testing.T) {
	t.Parallel()
	s, _ := key.NewSigningPrivate[key.Device](seed)
	a, _ := key.NewAgreementPrivate[key.Identity](seed)
	m, _ := key.NewSymmetric[key.Attachment](seed)
	for _, v := range []any{
		hider[key.DeviceSigningPrivate]{s}, &hider[key.DeviceSigningPrivate]{s},
		hider[key.IdentityPrivate]{a}, &hider[key.IdentityPrivate]{a},
		hider[key.AttachmentKey]{m}, &hider[[]key.AttachmentKey]{[]key.AttachmentKey{m}},
	} {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%x", "%X", "%q", "%d"} {
			if out := fmt.Sprintf(verb, v); leaks(out) {
				t.Errorf("%T, %s: got %q, want no secret", v, verb, out)
			}
		}
		if out := asJSON(t, v); leaks(out) {
			t.Errorf("%T: got %q, want no secret", v, out)
		}
	}
}

func asJSON(t *testing.T, v any) string {
	t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func logged(t *testing.T, v any, asJSON bool) string {
	t.Helper()
	var out bytes.Buffer
	var h slog.Handler = slog.NewTextHandler(&out, nil)
	if asJSON {
		h = slog.NewJSONHandler(&out, nil)
	}
	slog.New(h).Info("key", "k", v)
	return out.String()
}

func TestPrivateKeysRefuseDecodersAndBinary(t *testing.T) {
	t.Parallel()
	for _, k := range everyPrivate(t) {
		name := fmt.Sprintf("%T", k)
		if err := gob.NewEncoder(new(bytes.Buffer)).Encode(k); !errors.Is(err, key.ErrSecret) {
			t.Errorf("%s: gob: got %v, want ErrSecret", name, err)
		}
		if out, err := xml.Marshal(k); err == nil && leaks(string(out)) {
			t.Errorf("%s: xml: got %q, want no secret", name, out)
		}
		ptr := reflect.New(reflect.TypeOf(k)).Interface()
		if err := json.Unmarshal([]byte(`"`+base64text.Encode(seed)+`"`), ptr); !errors.Is(err, key.ErrSecret) {
			t.Errorf("%s: json: got %v, want ErrSecret", name, err)
		}
		if err := ptr.(interface{ UnmarshalText([]byte) error }).UnmarshalText(seed); !errors.Is(err, key.ErrSecret) {
			t.Errorf("%s: text: got %v, want ErrSecret", name, err)
		}
		if err := ptr.(interface{ UnmarshalBinary([]byte) error }).UnmarshalBinary(seed); !errors.Is(err, key.ErrSecret) {
			t.Errorf("%s: binary: got %v, want ErrSecret", name, err)
		}
		if reflect.TypeOf(k).Comparable() {
			t.Errorf("%s: got comparable, want a compile error for ==", name)
		}
	}
}

func TestWipe(t *testing.T) {
	t.Parallel()
	for _, k := range everyPrivate(t) {
		name := fmt.Sprintf("%T", k)
		if !bytes.Equal(k.Secret(), seed) {
			t.Errorf("%s: Secret is not the seed", name)
		}
		other := k
		k.Wipe()
		if !k.IsZero() || !other.IsZero() {
			t.Errorf("%s: got a usable key after Wipe, want all copies wiped", name)
		}
		func() {
			defer func() {
				if r := recover(); r == nil || leaks(fmt.Sprint(r)) {
					t.Errorf("%s: got %v, want a panic that says no secret", name, r)
				}
			}()
			other.Secret()
		}()
		k.Wipe()
	}
	var zero key.BackupPrivate
	zero.Wipe()
	if !zero.IsZero() || zero.String() != "[redacted]" {
		t.Errorf("got %v, want a zero key that prints [redacted]", zero)
	}
}

func TestErrorsDoNotEcho(t *testing.T) {
	t.Parallel()
	text := base64text.Encode(seed)
	short := string(seed[:31])
	var errs []error
	add := func(_ any, err error) { errs = append(errs, err) }
	add(key.NewSigningPrivate[key.Device]([]byte(short)))
	add(key.ParseSigningPrivate[key.Device](text + "!"))
	add(key.ParseSigningPrivate[key.Device](text[:40]))
	add(key.NewSigningPublic[key.Device]([]byte(short)))
	add(key.ParseSigningPublic[key.Master](text + "!"))
	add(key.NewAgreementPrivate[key.Identity]([]byte(short)))
	add(key.ParseAgreementPrivate[key.Backup](text + "!"))
	add(key.NewAgreementPublic[key.Identity]([]byte(short)))
	add(key.ParseAgreementPublic[key.OneTime](text + "!"))
	add(key.NewSymmetric[key.Attachment]([]byte(short)))
	add(key.ParseSymmetric[key.SecretStorage](text + "!"))
	var p key.DeviceSigningPublic
	add(nil, json.Unmarshal([]byte(`"`+text+`!"`), &p))
	var q key.IdentityPublic
	add(nil, json.Unmarshal([]byte(`"`+text+`!"`), &q))
	for i, err := range errs {
		if !errors.Is(err, key.ErrMalformed) || leaks(err.Error()) {
			t.Errorf("%d: got %v, want ErrMalformed without the input", i, err)
		}
	}
}
