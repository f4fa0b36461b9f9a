package cert

import (
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"fmt"
	"slices"
	"strings"

	"golang.org/x/crypto/cryptobyte"
	der "golang.org/x/crypto/cryptobyte/asn1"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/internal/form"
)

// A Use is what a certificate may be used for.
type Use string

// The uses. A device has one certificate for each.
const (
	UseSign    Use = "sign"
	UseEncrypt Use = "encrypt"
)

// An Identity names the holder of a certificate.
type Identity struct {
	// User is "name@domain".
	User   quinta.UserID
	Device quinta.DeviceID
	Use    Use
}

// Check reports whether the names have their form.
func (id Identity) Check() error {
	if !isUser(string(id.User)) {
		return fmt.Errorf("%w: a user is name@domain in lower case", ErrMalformed)
	}
	if !form.Is(string(id.Device), form.ID, 1, 64) {
		return fmt.Errorf("%w: a device is 1 to 64 letters, digits, _ and -", ErrMalformed)
	}
	if id.Use != UseSign && id.Use != UseEncrypt {
		return fmt.Errorf("%w: a certificate is for signing or for encryption", ErrMalformed)
	}
	return nil
}

// isUser reports whether s is a user: name@domain in ASCII and lower case, so
// that no two names look alike.
func isUser(s string) bool {
	name, domain, ok := strings.Cut(s, "@")
	return ok && isLabel(name, "._+-", 64) && isLabel(domain, ".-", 253) && !strings.Contains(s, "..")
}

// isLabel reports whether s has 1 to most letters and digits, and between them
// the characters of inside.
func isLabel(s, inside string, most int) bool {
	const outside = form.Lower + form.Digits
	return form.Is(s, outside+inside, 1, most) && form.Is(s[:1]+s[len(s)-1:], outside, 2, 2)
}

// Object identifiers of the names (RFC 5280, RFC 6120 section 13.7.1.4).
var (
	oidSAN      = asn1.ObjectIdentifier{2, 5, 29, 17}
	oidXMPPAddr = asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 8, 5}
)

// subject is the subject of a certificate: the user, and the device as its
// serial number. The names that count are the alternative ones.
func (id Identity) subject() pkix.Name {
	return pkix.Name{CommonName: string(id.User), SerialNumber: string(id.Device)}
}

// san is the extension with the user as an e-mail address and as an XMPP
// address, and the device and use as a URI.
func (id Identity) san() (pkix.Extension, error) {
	var b cryptobyte.Builder
	b.AddASN1(der.SEQUENCE, func(b *cryptobyte.Builder) {
		b.AddASN1(der.Tag(0).ContextSpecific().Constructed(), func(b *cryptobyte.Builder) {
			b.AddASN1ObjectIdentifier(oidXMPPAddr)
			b.AddASN1(der.Tag(0).ContextSpecific().Constructed(), func(b *cryptobyte.Builder) {
				b.AddASN1(der.UTF8String, func(b *cryptobyte.Builder) { b.AddBytes([]byte(id.User)) })
			})
		})
		b.AddASN1(der.Tag(1).ContextSpecific(), func(b *cryptobyte.Builder) { b.AddBytes([]byte(id.User)) })
		b.AddASN1(der.Tag(6).ContextSpecific(), func(b *cryptobyte.Builder) { b.AddBytes([]byte(id.uri())) })
	})
	raw, err := b.Bytes()
	return pkix.Extension{Id: oidSAN, Value: raw}, err
}

// uri names the device and the use: "urn:quinta:ca:DEVICE:USE".
func (id Identity) uri() string { return uriPrefix + string(id.Device) + ":" + string(id.Use) }

const uriPrefix = "urn:quinta:ca:"

// identityOf reads whose a certificate or a request is from its alternative
// names, which must be just those that san writes.
func identityOf(exts []pkix.Extension) (Identity, error) {
	var raw []byte
	for _, e := range exts {
		if e.Id.Equal(oidSAN) {
			if raw != nil {
				return Identity{}, ErrMalformed
			}
			raw = e.Value
		}
	}
	in := cryptobyte.String(raw)
	var names, other, value, text, mail, uri cryptobyte.String
	var oid asn1.ObjectIdentifier
	if raw == nil || !in.ReadASN1(&names, der.SEQUENCE) || !in.Empty() ||
		!names.ReadASN1(&other, der.Tag(0).ContextSpecific().Constructed()) || !other.ReadASN1ObjectIdentifier(&oid) ||
		!other.ReadASN1(&value, der.Tag(0).ContextSpecific().Constructed()) || !other.Empty() ||
		!value.ReadASN1(&text, der.UTF8String) || !value.Empty() ||
		!names.ReadASN1(&mail, der.Tag(1).ContextSpecific()) || !names.ReadASN1(&uri, der.Tag(6).ContextSpecific()) || !names.Empty() {
		return Identity{}, fmt.Errorf("%w: the alternative names are not the names of a device", ErrMalformed)
	}
	if !oid.Equal(oidXMPPAddr) || string(text) != string(mail) {
		return Identity{}, fmt.Errorf("%w: the alternative names do not agree", ErrMalformed)
	}
	rest, ok := strings.CutPrefix(string(uri), uriPrefix)
	device, use, ok2 := strings.Cut(rest, ":")
	if !ok || !ok2 {
		return Identity{}, fmt.Errorf("%w: the alternative names do not name a device", ErrMalformed)
	}
	id := Identity{User: quinta.UserID(mail), Device: quinta.DeviceID(device), Use: Use(use)}
	return id, id.Check()
}

// IdentityOf returns the holder of a certificate. Whether it comes from a
// known authority is checked by [Verifier].
func IdentityOf(c *x509.Certificate) (Identity, error) {
	id, err := identityOf(c.Extensions)
	if err != nil {
		return id, err
	}
	want := x509.KeyUsageDigitalSignature
	if id.Use == UseEncrypt {
		want = x509.KeyUsageKeyAgreement | x509.KeyUsageKeyEncipherment
	}
	if c.KeyUsage&want == 0 || c.KeyUsage&^want != 0 || !slices.Equal(c.ExtKeyUsage, []x509.ExtKeyUsage{x509.ExtKeyUsageEmailProtection}) || c.IsCA {
		return id, fmt.Errorf("%w: the certificate is not for this use", ErrUntrusted)
	}
	return id, nil
}
