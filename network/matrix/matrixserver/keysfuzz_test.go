package matrixserver

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/internal/canonicaljson"
	"github.com/quinta-chat/quinta/network/matrix/wire"
	"github.com/quinta-chat/quinta/server/device"
	"github.com/quinta-chat/quinta/server/directory"
	"github.com/quinta-chat/quinta/server/prekey"
)

const (
	fuzzUser   = quinta.UserID("@a:hs1")
	fuzzDevice = quinta.DeviceID("D")
)

// checkJSON fails if what the server would store or send is not canonical.
func checkJSON(t *testing.T, what string, raw []byte) {
	t.Helper()
	c, err := canonicaljson.Canonical(raw)
	if err != nil || !bytes.Equal(c, raw) {
		t.Errorf("%s: not canonical: %q: %v", what, raw, err)
	}
}

// What is taken for device keys can be stored, joined with signatures and
// spliced into an answer.
func FuzzDeviceKeys(f *testing.F) {
	f.Add([]byte(`{"user_id":"@a:hs1","device_id":"D","algorithms":["x"],"keys":{"ed25519:D":"k"},"signatures":{"@a:hs1":{"ed25519:D":"s"}},"unsigned":{"x":1}}`), "name")
	f.Add([]byte(`{"user_id":"\u0040a:hs1","device_id":"D","algorithms":[],"keys":{},"signatures":{}}`), "\"\\\n")
	f.Add([]byte(`{"user_id":"@a:hs1","device_id":"D","algorithms":null,"keys":[],"signatures":{"a":1}}`), "")
	f.Fuzz(func(t *testing.T, raw []byte, name string) {
		d, err := parseDeviceKeys(raw, fuzzUser, fuzzDevice)
		if err != nil {
			return
		}
		checkJSON(t, "body", d.body)
		if u, err := canonicaljson.Get(d.body, "unsigned"); u != nil || err != nil {
			t.Errorf("unsigned stayed: %s %v", u, err)
		}
		merged, err := mergeSignatures([]byte(`{"signatures":{"@a:hs1":{"ed25519:SSK":"sig"}}}`), d.body)
		if err != nil {
			t.Fatal(err)
		}
		checkJSON(t, "merged", merged)
		if s, err := canonicaljson.SigningBytes(merged); err != nil || !bytes.Equal(s, d.signed) {
			t.Errorf("signatures changed what is signed: %s %v", s, err)
		}
		a := &keyAnswer{devices: []directory.Device{{User: fuzzUser, Device: fuzzDevice, Body: merged}},
			names: []device.Label{{User: fuzzUser, ID: fuzzDevice, Name: strings.ToValidUTF8(name, "")}}}
		out, err := a.write(nil)
		if err != nil {
			t.Fatal(err)
		}
		var got struct {
			Devices map[string]map[string]struct {
				Unsigned struct {
					Name string `json:"device_display_name"`
				} `json:"unsigned"`
			} `json:"device_keys"`
		}
		if err := json.Unmarshal(out, &got); err != nil {
			t.Fatalf("%s: %v", out, err)
		}
		if n := got.Devices[string(fuzzUser)][string(fuzzDevice)].Unsigned.Name; n != strings.ToValidUTF8(name, "") {
			t.Errorf("got the name %q, want %q", n, name)
		}
	})
}

// What is taken for one-time keys can be spliced into an answer to a claim.
func FuzzOneTimeKeys(f *testing.F) {
	f.Add([]byte(`{"signed_curve25519:A":{"key":"k","signatures":{"@a:hs1":{"ed25519:D":"s"}}},"x:y":"text"}`))
	f.Add([]byte(`{"a:b":{"key":1}}`))
	f.Add([]byte(`{":":"","a":"b"}`))
	f.Fuzz(func(t *testing.T, raw []byte) {
		keys, err := parseKeys(raw, "keys", 100)
		if err != nil {
			return
		}
		var got []prekey.Claimed
		for _, k := range keys {
			checkJSON(t, "key", k.Body)
			got = append(got, prekey.Claimed{Want: prekey.Want{User: fuzzUser, Device: quinta.DeviceID(k.ID), Algorithm: k.Algorithm}, ID: k.ID, Body: k.Body})
		}
		if out := writeClaim(got, map[string]struct{}{"h\"": {}}); !json.Valid(out) {
			t.Errorf("not JSON: %s", out)
		}
	})
}

// What is taken for a cross-signing key has one key, and no signature of
// anyone else; the viewer's signature can be put on it.
func FuzzCrossSigningKey(f *testing.F) {
	const pub = "nqOvzeuGWT/sRx3h7+MHoInYj3Uk2LD/unI9kDYcHwk"
	f.Add([]byte(`{"user_id":"@a:hs1","usage":["master"],"keys":{"ed25519:` + pub + `":"` + pub + `"},"signatures":{"@a:hs1":{"ed25519:D":"s"},"@b:hs1":{"ed25519:E":"t"}}}`))
	f.Add([]byte(`{"user_id":"@a:hs1","usage":["master"],"keys":{"ed25519:` + pub + `":"` + pub + `"}}`))
	f.Fuzz(func(t *testing.T, raw []byte) {
		k, err := parseCrossSigningKey(raw, fuzzUser, usageMaster)
		if err != nil {
			return
		}
		checkJSON(t, "body", k.body)
		sigs, err := signaturesOf(k.body)
		if err != nil {
			t.Fatal(err)
		}
		for entity := range sigs {
			if entity != string(fuzzUser) {
				t.Errorf("kept a signature of %s", entity)
			}
		}
		id := &directory.Identity{User: fuzzUser, Usage: usageMaster, Key: k.pub(), Body: k.body}
		a := &keyAnswer{viewer: "@b:hs1", signatures: map[quinta.UserID][]directory.Signature{fuzzUser: {{User: fuzzUser, Target: k.pub(), Key: "USK", Signature: "sig"}}}}
		out, err := a.sign(id)
		if err != nil {
			t.Fatal(err)
		}
		if sigs, err = signaturesOf(out); err != nil || sigs["@b:hs1"]["ed25519:USK"] != "sig" {
			t.Errorf("got %s %v", out, err)
		}
		if s, err := canonicaljson.SigningBytes(out); err != nil || !bytes.Equal(s, k.signed) {
			t.Errorf("a signature changed what is signed: %s %v", s, err)
		}
	})
}

// What is taken for messages becomes envelopes with JSON objects in them.
func FuzzToDevice(f *testing.F) {
	f.Add([]byte(`{"messages":{"@a:hs1":{"D":{"a":1},"*":{}}}}`))
	f.Add([]byte(`{"messages":{"@a:hs1":{"*":[]}}}`))
	f.Fuzz(func(t *testing.T, raw []byte) {
		ms, err := members(raw, "the body")
		if err != nil {
			return
		}
		users, err := members(field(ms, "messages"), "messages")
		if err != nil {
			return
		}
		var to []recipient
		for _, u := range users {
			devices, err := messagesOf(u.Value)
			if err != nil {
				return
			}
			to = append(to, recipient{quinta.UserID(u.Name), devices})
		}
		envs, err := address(to, []device.Label{{User: fuzzUser, ID: fuzzDevice}}, "@s:hs1", "t")
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range envs {
			if e.From != "@s:hs1" || kind(e.Body) != '{' || !json.Valid(e.Body) {
				t.Errorf("got %+v", e)
			}
		}
	})
}

// What is taken for a backup has names, numbers and whole bodies.
func FuzzBackupKeys(f *testing.F) {
	f.Add([]byte(`{"rooms":{"!r":{"sessions":{"s":{"first_message_index":1,"forwarded_count":0,"is_verified":true,"session_data":{}}}}}}`))
	f.Add([]byte(`{"rooms":{"":{"sessions":{}}}}`))
	f.Fuzz(func(t *testing.T, raw []byte) {
		u := backupUpload{}
		if u.all(raw) != nil {
			return
		}
		for _, k := range u.keys {
			if k.Room == "" || k.Session == "" || k.First < 0 || k.Forwarded < 0 || !json.Valid(k.Body) {
				t.Errorf("got %+v", k)
			}
		}
		for keys := u.keys; len(keys) > 0; {
			var out []byte
			if out, keys = appendSessions(nil, keys); !json.Valid(out) {
				t.Errorf("not JSON: %s", out)
			}
		}
	})
}

func FuzzAppendText(f *testing.F) {
	f.Add("plain")
	f.Add("\"\\\x00\x1f\u2028\u00e9\U0001f600")
	f.Fuzz(func(t *testing.T, s string) {
		s = strings.ToValidUTF8(s, "?")
		var got string
		if err := json.Unmarshal(wire.AppendText(nil, s), &got); err != nil || got != s {
			t.Errorf("got %q %v, want %q", got, err, s)
		}
		if got, ok := text(wire.AppendText(nil, s)); !ok || got != s {
			t.Errorf("text: got %q, want %q", got, s)
		}
	})
}
