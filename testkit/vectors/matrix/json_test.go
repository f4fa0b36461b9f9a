package matrix

import (
	"bytes"
	"fmt"
	"strings"

	"github.com/quinta-chat/quinta/internal/canonicaljson"
	"github.com/quinta-chat/quinta/key"
	"github.com/quinta-chat/quinta/testkit/vectors"
)

func (m *maker) json() {
	for i, c := range []struct{ in, out string }{
		{` [ 1 , -2 , true,false,null ,"" ] `, `[1,-2,true,false,null,""]`},
		{`-0`, `0`},
		{`1E+3`, `1000`},
		{`9007199254740991`, `9007199254740991`},
		{`"\uD83D\ude00"`, `"😀"`},
		{`{"b":{"d":1,"c":2},"a":[{"z":0,"y":0}]}`, `{"a":[{"y":0,"z":0}],"b":{"c":2,"d":1}}`},
		{`{"😀":1,"～":2}`, `{"～":2,"😀":1}`},
	} {
		m.add("canonical-json", fmt.Sprintf("form-%d", i+1), "text that has a canonical form", vectors.Success, "signatures are over the canonical form", []byte(c.in), heads{"plain": b64([]byte(c.out))})
	}
	for i, in := range []string{``, `{"a":1,}`, `[1,]`, `1 2`, `01`, `1.`, `.5`, `+1`, `"\x"`, `"\u12g4"`, "\"\n\"", "\"\xff\"", "\"\xed\xa0\x80\"", "\xef\xbb\xbf{}", `{"a":1,"a":2}}`} {
		m.add("canonical-json", fmt.Sprintf("not-json-%d", i+1), "text that is not JSON", "not json", "readers that are lenient differ from each other", []byte(in), nil)
	}
	for i, c := range []struct{ in, what string }{
		{`1.0`, "a fraction"}, {`0.5`, "a fraction"}, {`1e-1`, "a negative exponent"}, {`9007199254740992`, "a number of 54 bits"}, {`-9007199254740992`, "a number of 54 bits"},
		{`1e999999999999`, "a huge exponent"}, {`"\ud800"`, "half a surrogate pair"}, {`"\udc00\ud800"`, "a surrogate pair in the wrong order"}, {`{"a":1,"a":1}`, "a name twice"},
		{`{"a":1,"b":2,"\u0061":1}`, "a name twice, written in two ways"}, {`[{"x":{"a":1,"a":2}}]`, "a name twice, deep inside"},
		{strings.Repeat("[", canonicaljson.MaxDepth+1) + strings.Repeat("]", canonicaljson.MaxDepth+1), "too many levels"},
	} {
		m.add("canonical-json", fmt.Sprintf("no-form-%d", i+1), c.what, "not canonical", "two readers could see two different objects under one signature", []byte(c.in), nil)
	}
}

// signed are device keys and cross-signing keys with their signatures.
func (m *maker) signed() {
	k := must[key.DeviceSigningPrivate](m.t)(key.GenerateSigning[key.Device](m.rand))
	master := must[key.DeviceSigningPrivate](m.t)(key.GenerateSigning[key.Device](m.rand))
	agree := must[key.IdentityPrivate](m.t)(key.GenerateAgreement[key.Identity](m.rand))
	sign := func(raw, id string, k key.DeviceSigningPrivate) []byte {
		return must[[]byte](m.t)(canonicaljson.Sign([]byte(raw), "@alice:x", id, k.Sign))
	}
	device := sign(`{"user_id":"@alice:x","device_id":"D","algorithms":["m.olm.v1.curve25519-aes-sha2","m.megolm.v1.aes-sha2"],"keys":{"curve25519:D":"`+
		agree.Public().String()+`","ed25519:D":"`+k.Public().String()+`"}}`, "ed25519:D", k)
	masterID := "ed25519:" + master.Public().String()
	self := sign(`{"user_id":"@alice:x","usage":["self_signing"],"keys":{"`+"ed25519:"+k.Public().String()+`":"`+k.Public().String()+`"}}`, masterID, master)
	set := func(raw []byte, old, new string) []byte {
		if !bytes.Contains(raw, []byte(old)) {
			m.t.Fatalf("%s is not in the object", old)
		}
		return bytes.Replace(raw, []byte(old), []byte(new), 1)
	}
	const all = "the signature covers each member but signatures and unsigned"
	for _, o := range []struct {
		name, what, other string
		raw               []byte
		in                heads
	}{
		{"device", "a device's keys", "ed25519:E", device, heads{"user": "@alice:x", "key-id": "ed25519:D", "public": b64(k.Public().Bytes())}},
		{"cross", "a self-signing key", "ed25519:E", self, heads{"user": "@alice:x", "key-id": masterID, "public": b64(master.Public().Bytes())}},
	} {
		add := func(name, what, expect, why string, raw []byte, over ...heads) {
			m.add("signed-object", o.name+"-"+name, o.what+": "+what, expect, why, raw, o.in, over...)
		}
		add("plain", "signed", vectors.Success, "it is genuine", o.raw)
		add("unsigned", "something is added to unsigned", vectors.Success, "unsigned is outside the signature", set(o.raw, `{`, `{"unsigned":{"device_display_name":"x"},`))
		add("user", "of another user", "bad signature", all, set(o.raw, `"user_id":"@alice:x"`, `"user_id":"@mallory:x"`))
		add("key", "another key", "bad signature", all, set(o.raw, k.Public().String()+`"`, agree.Public().String()+`"`))
		add("added", "a member is added", "bad signature", all, set(o.raw, `{`, `{"extra":1,`))
		add("twice", "a name twice", "not canonical", "two readers could see two different objects under one signature", set(o.raw, `{`, `{"user_id":"@mallory:x",`))
		add("other-key-id", "signed by another key of the user", "no signature", "the signature is looked for under the key that is trusted", o.raw, heads{"key-id": o.other})
		add("other-user", "signed by another user", "no signature", "the signature is looked for under the user that is asked about", o.raw, heads{"user": "@mallory:x"})
		add("wrong-public", "held against another public key", "bad signature", "the key is the one that is trusted, whatever the object claims", o.raw, heads{"public": b64(must[key.DeviceSigningPrivate](m.t)(key.GenerateSigning[key.Device](m.rand)).Public().Bytes())})
		add("list", "inside a list", "malformed", "an object is signed", append(append([]byte{'['}, o.raw...), ']'))
		add("weak-public", "held against a key of small order", "weak key", "its signatures would prove nothing", o.raw, heads{"public": b64(append([]byte{1}, make([]byte, 31)...))})
	}
}
