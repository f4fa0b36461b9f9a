// Package key implements the keys of the end-to-end systems, one type per role
// of key, so that a key made for one thing cannot be used for another.
//
// There are three kinds: [SigningPrivate] and [SigningPublic] (Ed25519,
// RFC 8032), [AgreementPrivate] and [AgreementPublic] (X25519, RFC 7748), and
// [Symmetric] (32 random bytes). The role is their type parameter:
//
//	k, err := key.GenerateSigning[key.Device](env.Rand)
//	p, err := key.ParseAgreementPublic[key.OneTime](text)
//
// The file role.go lists the roles and has a short name for each pair.
//
// Public keys compare with ==, serve as map keys, print as unpadded base64
// and read and write themselves as JSON strings. Ed25519 public keys of small
// order and in non-canonical form are refused when they are parsed; X25519
// public keys of small order are refused by [Agree].
//
// Private keys do not compare with ==, print as "[redacted]" in every format,
// in JSON and in slog, and refuse to be marshalled as binary or read back from
// JSON or text. Only the method Secret gives the bytes. Copies of a private
// key share its bytes: Wipe wipes them all. The zero value of a private key
// holds no key; using it, or a wiped one, panics.
//
// Not here: certificates, RSA, and the short-lived chain and message keys that
// never leave a ratchet.
package key
