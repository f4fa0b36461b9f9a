package matrix

import (
	"bytes"

	"github.com/quinta-chat/quinta/e2ee/sas"
	"github.com/quinta-chat/quinta/key"
	"github.com/quinta-chat/quinta/testkit/vectors"
)

func (m *maker) sas() {
	q := sas.QR{Mode: sas.QRUser, ID: "flow", First: [key.Size]byte(m.bytes(32)), Second: [key.Size]byte(m.bytes(32)), Secret: m.bytes(16)}
	good := q.Encode()
	add := func(name, what, expect, why string, b []byte) { m.add("sas-qr", name, what, expect, why, b, nil) }
	add("plain", "a code", vectors.Success, "it is genuine", good)
	add("head", "another head", "malformed", "it is a code for something else", flip(good, 0))
	add("version", "another version", "malformed", "only version 2 is read", flip(good, 6))
	mode := bytes.Clone(good)
	mode[7] = 3
	add("mode", "a mode that is not known", "malformed", "which keys it shows is not known", mode)
	no := bytes.Clone(good)
	no[8], no[9] = 0, 0
	add("no-flow", "no flow", "malformed", "a code belongs to one flow", no)
	long := bytes.Clone(good)
	long[8] = 0xff
	add("length", "a length beyond the end", "malformed", "a length is held against what is there", long)
	add("secret-short", "a secret of 7 bytes", "malformed", "a short secret can be guessed", good[:len(good)-9])
	add("empty", "no byte at all", "malformed", "there is nothing to read", nil)
	add("large", "more than a code can hold", "malformed", "it was not scanned", append(bytes.Clone(good), make([]byte, 3000)...))
	text := bytes.Clone(good)
	text[10] = 0xff
	add("utf-8", "a flow whose name is not UTF-8", "malformed", "names are text", text)

	own := m.agreement()
	peer := must[key.VerificationPrivate](m.t)(key.NewAgreementPrivate[key.Verification](m.agreement())).Public()
	in := heads{"key": b64(own)}
	const zero = "the digits to compare would not depend on the keys"
	m.add("sas-key", "plain", "a key", vectors.Success, "it is genuine", peer.Bytes(), in)
	m.add("sas-key", "zero", "a key of zeros", "weak key", zero, make([]byte, 32), in)
	m.add("sas-key", "one", "a key that is one", "weak key", zero, append([]byte{1}, make([]byte, 31)...), in)
	m.add("sas-key", "low", "a key of order 8", "weak key", zero, low, in)

	start := []byte(`{"from_device":"A","hashes":["sha256"],"key_agreement_protocols":["curve25519-hkdf-sha256"],"message_authentication_codes":["hkdf-hmac-sha256.v2"],` +
		`"method":"m.sas.v1","short_authentication_string":["decimal","emoji"],"transaction_id":"flow"}`)
	in = heads{"public": b64(peer.Bytes()), "commitment": must[string](m.t)(sas.Commitment(peer, start))}
	const bound = "the commitment binds the key and the whole start message"
	m.add("sas-commitment", "plain", "the start message", vectors.Success, "it is genuine", start, in)
	m.add("sas-commitment", "spaces", "the start message with other spaces", vectors.Success, "the canonical form counts", bytes.ReplaceAll(start, []byte(","), []byte(" , ")), in)
	m.add("sas-commitment", "key", "another key than was committed to", "mismatch", "who chooses their key last can choose the digits", start, in, heads{"public": b64(m.agreement())})
	m.add("sas-commitment", "start", "another start message", "mismatch", bound, bytes.Replace(start, []byte(`"decimal",`), nil, 1), in)
	m.add("sas-commitment", "flow", "the start message of another flow", "mismatch", bound, bytes.Replace(start, []byte(`"flow"`), []byte(`"wolf"`), 1), in)
	m.add("sas-commitment", "other", "another commitment", "mismatch", bound, start, in, heads{"commitment": bare(m.bytes(32))})
}
