package matrix

import (
	"bytes"
	"encoding/json"
	"strings"

	"github.com/quinta-chat/quinta/e2ee/sas"
	"github.com/quinta-chat/quinta/testkit/vectors"
)

// script runs a flow between two honest sides and returns what the reader did
// and got.
func (m *maker) script(own []byte, readerStarts bool) []step {
	f := [2]*sas.Flow{flow(m.t, 0, m.agreement(), began), flow(m.t, 1, own, began)}
	var steps []step
	var carry func(from int, ms []sas.Message, err error)
	carry = func(from int, ms []sas.Message, err error) {
		if err != nil {
			m.t.Fatal(err)
		}
		for _, one := range ms {
			if from == 0 {
				steps = append(steps, step{Type: one.Type, Content: one.Content})
			}
			carry(1-from, f[1-from].Receive(sides(m.t)[from].User, one.Type, one.Content), nil)
		}
	}
	does := func(side int, action string) {
		if side == 1 {
			steps = append(steps, step{Action: action})
		}
		ms, err := act(f[side], action)
		carry(side, ms, err)
	}
	ms, err := f[0].Request()
	carry(0, ms, err)
	does(1, "accept")
	starter := 0
	if readerStarts {
		starter = 1
	}
	does(starter, "start")
	does(1, "confirm")
	does(0, "confirm")
	if f[1].State() != sas.StateDone {
		m.t.Fatalf("an honest flow ended in the state %v", f[1].State())
	}
	return steps
}

// flows tampers with what the reader gets.
func (m *maker) flows() {
	for _, o := range []struct {
		name   string
		starts bool
	}{{"accepter", false}, {"starter", true}} {
		own := m.agreement()
		honest := m.script(own, o.starts)
		add := func(name, what, expect, why, typ, old, new string) {
			var b bytes.Buffer
			found := typ == ""
			for _, s := range honest {
				if s.Type == typ && typ != "" {
					if !bytes.Contains(s.Content, []byte(old)) {
						m.t.Fatalf("%s is not in %s", old, s.Content)
					}
					s.Content, found = bytes.Replace(s.Content, []byte(old), []byte(new), 1), true
				}
				b.Write(append(must[[]byte](m.t)(json.Marshal(s)), '\n'))
			}
			if !found {
				m.t.Fatalf("no %s in the flow", typ)
			}
			m.add("sas-flow", o.name+"-"+name, what, expect, why, b.Bytes(), heads{"key": b64(own), "plain": b64(sides(m.t)[0].Master.Bytes())})
			m.all[len(m.all)-1].Clock = began
		}
		add("plain", "a whole flow", vectors.Success, "both sides are honest", "", "", "")
		add("key-zero", "a short-lived key of zeros", sas.CodeInvalidMessage, "the digits to compare would not depend on the keys", sas.TypeKey, contentOf(honest, sas.TypeKey, "key"), strings.Repeat("A", 43))
		add("mac", "another MAC of the keys", sas.CodeKeyMismatch, "the MAC says which keys the digits were compared for", sas.TypeMAC, `"keys":"`, `"keys":"AAAA`)
		add("mac-device", "the MAC of a device that is not the sender's", sas.CodeKeyMismatch, "the MAC says which keys the digits were compared for", sas.TypeMAC, `ed25519:ALICE`, `ed25519:OTHER`)
		if o.starts {
			add("commitment", "another commitment than that of the key", sas.CodeCommitment, "who chooses their key last can choose the digits", sas.TypeAccept, contentOf(honest, sas.TypeAccept, "commitment"), strings.Repeat("A", 43))
			add("hash", "a hash that was not offered", sas.CodeUnknownMethod, "what was not offered is not used", sas.TypeAccept, `"sha256"`, `"sha1"`)
			add("agreement", "an agreement that was not offered", sas.CodeUnknownMethod, "what was not offered is not used", sas.TypeAccept, `"curve25519-hkdf-sha256"`, `"curve25519"`)
		} else {
			add("method", "a method that is not known", sas.CodeUnknownMethod, "what was not offered is not used", sas.TypeStart, `"m.sas.v1"`, `"m.sas.v9"`)
			add("hash", "no hash that is known", sas.CodeUnknownMethod, "what is not known is not guessed at", sas.TypeStart, `"sha256"`, `"sha1"`)
			add("mac-method", "no MAC that is known", sas.CodeUnknownMethod, "what is not known is not guessed at", sas.TypeStart, `"hkdf-hmac-sha256.v2"`, `"none"`)
		}
	}
}

// contentOf returns a member of the first message of a type.
func contentOf(steps []step, typ, name string) string {
	for _, s := range steps {
		var all map[string]any
		if s.Type == typ && json.Unmarshal(s.Content, &all) == nil {
			text, _ := all[name].(string)
			return text
		}
	}
	return ""
}
