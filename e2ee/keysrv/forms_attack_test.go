package keysrv_test

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/quinta-chat/quinta/e2ee/keysrv"
	"github.com/quinta-chat/quinta/key"
)

// The numbers of the attacks are the rows of the table in doc/network/xmpp.md.

// TestAttack05ProofOfAnotherRequest: a proof serves the one request, token, key
// and minute that it was made for.
func TestAttack05ProofOfAnotherRequest(t *testing.T) {
	t.Parallel()
	a, b := newOwner(t, romeo, 1), newOwner(t, romeo, 2)
	const method, url, token = "POST", "https://keys.test.example/xmpp/v1/keys", "token"
	text, err := keysrv.NewProof(random(3), a.sign, method, url, token, began)
	if err != nil {
		t.Fatal(err)
	}
	p, err := keysrv.ParseProof(text)
	if err != nil {
		t.Fatal(err)
	}
	jkt := keysrv.Thumbprint(a.Signing)
	if err := p.Check(method, url, token, jkt, began); err != nil {
		t.Fatal(err)
	}
	for name, err := range map[string]error{
		"method":  p.Check("GET", url, token, jkt, began),
		"url":     p.Check(method, url+"/x", token, jkt, began),
		"host":    p.Check(method, "https://other.example/xmpp/v1/keys", token, jkt, began),
		"token":   p.Check(method, url, "another", jkt, began),
		"key":     p.Check(method, url, token, keysrv.Thumbprint(b.Signing), began),
		"no key":  p.Check(method, url, token, "", began),
		"late":    p.Check(method, url, token, jkt, began.Add(2*time.Minute)),
		"early":   p.Check(method, url, token, jkt, began.Add(-2*time.Minute)),
		"an hour": p.Check(method, url, token, jkt, began.Add(time.Hour)),
	} {
		if !errors.Is(err, keysrv.ErrProof) {
			t.Errorf("%s: got %v, want ErrProof", name, err)
		}
	}
	parts := strings.Split(text, ".")
	head := func(s string) string { return base64.RawURLEncoding.EncodeToString([]byte(s)) }
	x := base64.RawURLEncoding.EncodeToString(a.Signing.Bytes())
	for _, bad := range []string{
		"", "..", parts[0] + "." + parts[1], parts[0] + "." + parts[1] + ".", text + ".", strings.Repeat("a", 5000),
		parts[0] + "." + head(`{"jti":"a","htm":"GET","htu":"u","iat":1}`) + "." + parts[2],
		head(`{"typ":"dpop+jwt","alg":"none","jwk":{"crv":"Ed25519","kty":"OKP","x":"`+x+`"}}`) + "." + parts[1] + ".",
		head(`{"typ":"JWT","alg":"EdDSA","jwk":{"crv":"Ed25519","kty":"OKP","x":"`+x+`"}}`) + "." + parts[1] + "." + parts[2],
	} {
		if _, err := keysrv.ParseProof(bad); !errors.Is(err, keysrv.ErrProof) {
			t.Errorf("%.30q: got %v, want ErrProof", bad, err)
		}
	}
}

// TestAttack06DeviceWithoutApproval: a device that the operator of a server
// makes up has the approval of no device of the user.
func TestAttack06DeviceWithoutApproval(t *testing.T) {
	t.Parallel()
	old, made, other := newOwner(t, romeo, 1), newOwner(t, romeo, 2), newOwner(t, tybalt, 3)
	if err := made.ApprovedBy(old.Device); !errors.Is(err, keysrv.ErrUntrusted) {
		t.Errorf("none: got %v, want ErrUntrusted", err)
	}
	made.Approval = made.Device.Approve(other.sign, 1)
	if err := made.ApprovedBy(other.Device); !errors.Is(err, keysrv.ErrUntrusted) {
		t.Errorf("of another user: got %v, want ErrUntrusted", err)
	}
	made.Approval = made.Device.Approve(made.sign, 1)
	if err := made.ApprovedBy(made.Device); !errors.Is(err, keysrv.ErrUntrusted) {
		t.Errorf("of itself: got %v, want ErrUntrusted", err)
	}
	another := newOwner(t, romeo, 4)
	made.Approval = another.Device.Approve(old.sign, 1)
	if err := made.ApprovedBy(old.Device); !errors.Is(err, keysrv.ErrUntrusted) {
		t.Errorf("of another device: got %v, want ErrUntrusted", err)
	}
}

// TestAttack07PayloadMoved: a payload opens only under the sender, receiver,
// stanza id and object that it was sealed for.
func TestAttack07PayloadMoved(t *testing.T) {
	t.Parallel()
	c := newCipher(t, keysrv.SuiteGCM, 1)
	sealed, err := keysrv.Seal(c, random(1), binding(), hello())
	if err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string]func(b *keysrv.Binding){
		"sender":   func(b *keysrv.Binding) { b.From = tybalt },
		"receiver": func(b *keysrv.Binding) { b.To = string(tybalt) },
		"room":     func(b *keysrv.Binding) { b.To = "hall@rooms.test.example" },
		"stanza":   func(b *keysrv.Binding) { b.StanzaID = "send2" },
		"object":   func(b *keysrv.Binding) { b.ObjectID = "5YGC0FF90l" },
		"shifted":  func(b *keysrv.Binding) { b.StanzaID, b.To = "end1", string(juliet)+"s" },
	} {
		b := binding()
		change(&b)
		if _, err := keysrv.Open(c, b, sealed); !errors.Is(err, keysrv.ErrTampered) {
			t.Errorf("%s: got %v, want ErrTampered", name, err)
		}
	}
	// A member who puts another's name into the envelope under his own binding.
	raw, err := json.Marshal(keysrv.Envelope{From: tybalt, Time: 1, Content: json.RawMessage(`{}`)})
	if err != nil {
		t.Fatal(err)
	}
	forged, err := c.Seal(random(2), binding(), raw)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := keysrv.Open(c, binding(), forged); !errors.Is(err, keysrv.ErrMismatch) {
		t.Errorf("another name inside: got %v, want ErrMismatch", err)
	}
}

// TestAttack09PayloadBytes: every changed bit and every cut is noticed.
func TestAttack09PayloadBytes(t *testing.T) {
	t.Parallel()
	c := newCipher(t, keysrv.SuiteGCM, 1)
	sealed, err := keysrv.Seal(c, random(1), binding(), hello())
	if err != nil {
		t.Fatal(err)
	}
	for i := range sealed {
		bad := bytes.Clone(sealed)
		bad[i] ^= 1
		want := keysrv.ErrTampered
		if i == 0 {
			want = keysrv.ErrUnsupported
		}
		if _, err := keysrv.Open(c, binding(), bad); !errors.Is(err, want) {
			t.Fatalf("byte %d: got %v, want %v", i, err, want)
		}
		if _, err := keysrv.Open(c, binding(), sealed[:i]); err == nil {
			t.Fatalf("cut after %d: got no error", i)
		}
	}
	for _, bad := range [][]byte{nil, make([]byte, 16), {1}, bytes.Repeat([]byte{1}, keysrv.MaxPayload+1)} {
		if _, err := c.Open(binding(), bad); !errors.Is(err, keysrv.ErrMalformed) {
			t.Errorf("%d bytes: got %v, want ErrMalformed", len(bad), err)
		}
	}
	for _, plain := range []string{"", "null", "[]", `{"from":"romeo@test.example","time":1}`, `{"from":"romeo@test.example","time":1.5,"content":{}}`,
		`{"from":"romeo@test.example","from":"tybalt@test.example","time":1,"content":{}}`, `{"from":"romeo@test.example","time":1,"content":"x"}`} {
		sealed, err := c.Seal(random(1), binding(), []byte(plain))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := keysrv.Open(c, binding(), sealed); !errors.Is(err, keysrv.ErrMalformed) {
			t.Errorf("%s: got %v, want ErrMalformed", plain, err)
		}
	}
}

// TestAttack10LegacyIsNotGuessed: the suite of the object counts; a text of the
// other suite is never opened by way of trial.
func TestAttack10LegacyIsNotGuessed(t *testing.T) {
	t.Parallel()
	gcm, cbc := newCipher(t, keysrv.SuiteGCM, 1), newCipher(t, keysrv.SuiteCBC, 1)
	legacy, err := keysrv.Seal(cbc, random(1), binding(), hello())
	if err != nil {
		t.Fatal(err)
	}
	legacy[0] ^= 1
	if _, err := keysrv.Open(gcm, binding(), legacy); err == nil {
		t.Error("a legacy text in a default conversation: got no error")
	}
	sealed, err := keysrv.Seal(gcm, random(1), binding(), hello())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := keysrv.Open(cbc, binding(), sealed); err == nil {
		t.Error("a default text in a legacy conversation: got no error")
	}
	// One error for everything that a change of a legacy text can do.
	legacy[0] ^= 1
	for i := range legacy {
		bad := bytes.Clone(legacy)
		bad[i] ^= 0x80
		if _, err := keysrv.Open(cbc, binding(), bad); err != nil && !errors.Is(err, keysrv.ErrTampered) && !errors.Is(err, keysrv.ErrMismatch) {
			t.Fatalf("byte %d: got %v, want ErrTampered", i, err)
		}
	}
}

// TestAttack12WrongCopy: the server swaps a key, a copy or a statement.
func TestAttack12WrongCopy(t *testing.T) {
	t.Parallel()
	a, b, c := newOwner(t, romeo, 1), newOwner(t, juliet, 2), newOwner(t, juliet, 3)
	k, other := conversationKey(t, 4), conversationKey(t, 5)
	s := statement(a, k)
	signature := s.Sign(a.sign)
	w, err := keysrv.Wrap(s, k, b.Device)
	if err != nil {
		t.Fatal(err)
	}
	wrong, err := keysrv.Wrap(s, other, b.Device)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := keysrv.Unwrap(s, wrong, juliet, b.ID, b.agree); !errors.Is(err, keysrv.ErrTampered) {
		t.Errorf("a copy of another key: got %v, want ErrTampered", err)
	}
	if _, err := keysrv.Unwrap(s, w, juliet, c.ID, c.agree); !errors.Is(err, keysrv.ErrMismatch) {
		t.Errorf("a copy for another device: got %v, want ErrMismatch", err)
	}
	renamed := *w
	renamed.Device = c.ID
	if _, err := keysrv.Unwrap(s, &renamed, juliet, c.ID, c.agree); !errors.Is(err, keysrv.ErrTampered) {
		t.Errorf("a renamed copy: got %v, want ErrTampered", err)
	}
	for name, change := range map[string]func(s *keysrv.Statement){
		"object":       func(s *keysrv.Statement) { s.ObjectID = "object2" },
		"conversation": func(s *keysrv.Statement) { s.Conversation = keysrv.DirectID(romeo, tybalt) },
		"creator":      func(s *keysrv.Statement) { s.Creator = tybalt },
		"expiry":       func(s *keysrv.Statement) { s.Expires++ },
		"commitment":   func(s *keysrv.Statement) { s.Check = s.Commit(other) },
		"device":       func(s *keysrv.Statement) { s.Device = b.ID },
	} {
		moved := *s
		change(&moved)
		if err := moved.Verify(a.Signing, signature); !errors.Is(err, keysrv.ErrTampered) {
			t.Errorf("%s: got %v, want ErrTampered", name, err)
		}
		if name == "device" {
			continue
		}
		if _, err := keysrv.Unwrap(&moved, w, juliet, b.ID, b.agree); !errors.Is(err, keysrv.ErrTampered) {
			t.Errorf("%s: unwrapping: got %v, want ErrTampered", name, err)
		}
	}
	swapped := *b.Device
	swapped.Agreement = c.Agreement
	if err := swapped.Check(); !errors.Is(err, keysrv.ErrTampered) {
		t.Errorf("a device with another agreement key: got %v, want ErrTampered", err)
	}
	swapped = *b.Device
	swapped.Signing = c.Signing
	if err := swapped.Check(); !errors.Is(err, keysrv.ErrMismatch) {
		t.Errorf("a device with another signing key: got %v, want ErrMismatch", err)
	}
}

// TestAttack16FileSegments: segments that are dropped, moved, repeated, cut off
// or of another file.
func TestAttack16FileSegments(t *testing.T) {
	t.Parallel()
	const seg = keysrv.SealedSegmentSize
	seal := func(seed byte) (key.AttachmentKey, []byte) {
		k, err := key.GenerateSymmetric[key.Attachment](random(seed))
		if err != nil {
			t.Fatal(err)
		}
		s, err := keysrv.NewSegmentSealer(k, bytes.NewReader(make([]byte, 3*keysrv.SegmentSize)))
		if err != nil {
			t.Fatal(err)
		}
		out, err := io.ReadAll(s)
		if err != nil {
			t.Fatal(err)
		}
		return k, out
	}
	k, file := seal(1)
	_, other := seal(2)
	join := func(parts ...[]byte) []byte { return bytes.Join(parts, nil) }
	one, two, three := file[:seg], file[seg:2*seg], file[2*seg:]
	for name, bad := range map[string][]byte{
		"first dropped":   join(two, three),
		"middle dropped":  join(one, three),
		"last missing":    join(one, two),
		"reordered":       join(two, one, three),
		"repeated":        join(one, one, two, three),
		"last repeated":   join(one, two, three, three),
		"cut":             file[:len(file)-1],
		"something after": join(file, []byte("x")),
		"of another file": join(one, other[seg:2*seg], three),
		"another file":    other,
		"empty":           nil,
		"a tag alone":     join(one, two, three[:16]),
	} {
		o, err := keysrv.NewSegmentOpener(k, bytes.NewReader(bad), 0)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadAll(o); !errors.Is(err, keysrv.ErrTampered) {
			t.Errorf("%s: got %v, want ErrTampered", name, err)
		}
	}
}

// TestAttack12ObjectsOfTwoKinds: an object that is both or neither kind is
// refused before anything of it is used.
func TestAttack12ObjectsOfTwoKinds(t *testing.T) {
	t.Parallel()
	a, b := newOwner(t, romeo, 1), newOwner(t, juliet, 2)
	k := conversationKey(t, 4)
	s := statement(a, k)
	w, err := keysrv.Wrap(s, k, b.Device)
	if err != nil {
		t.Fatal(err)
	}
	good := keysrv.Object{ID: s.ObjectID, Conversation: s.Conversation, Mode: keysrv.ModeSealed, Suite: s.Suite, Created: time.UnixMilli(s.Created), Expires: time.UnixMilli(s.Expires),
		Creator: s.Creator, Device: s.Device, Check: s.Check, Signature: s.Sign(a.sign), Wrapped: w}
	raw := good.Encode()
	o, err := keysrv.ParseObject(raw)
	if err != nil {
		t.Fatal(err)
	}
	got := o.Statement()
	if err := got.Verify(a.Signing, o.Signature); err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string]func(o *keysrv.Object){
		"with a key":      func(o *keysrv.Object) { o.Key = make([]byte, 32) },
		"escrow and copy": func(o *keysrv.Object) { o.Mode, o.Key = keysrv.ModeEscrow, make([]byte, 32) },
		"no statement":    func(o *keysrv.Object) { o.Check, o.Signature = nil, nil },
		"legacy":          func(o *keysrv.Object) { o.Suite = keysrv.SuiteCBC },
		"unknown suite":   func(o *keysrv.Object) { o.Suite = "A256CTR" },
		"unknown mode":    func(o *keysrv.Object) { o.Mode = "open" },
		"no expiry":       func(o *keysrv.Object) { o.Expires = time.Time{} },
		"for ever":        func(o *keysrv.Object) { o.Expires = o.Created.AddDate(10, 0, 0) },
		"no conversation": func(o *keysrv.Object) { o.Conversation = "" },
		"short copy": func(o *keysrv.Object) {
			o.Wrapped = &keysrv.Wrapped{User: juliet, Device: b.ID, Suite: keysrv.WrapX25519, Sealed: make([]byte, 79)}
		},
		"unknown wrapping": func(o *keysrv.Object) {
			o.Wrapped = &keysrv.Wrapped{User: juliet, Device: b.ID, Suite: "none", Sealed: make([]byte, 80)}
		},
		"no creator": func(o *keysrv.Object) { o.Creator = "romeo" },
	} {
		o := good
		change(&o)
		if _, err := keysrv.ParseObject(o.Encode()); err == nil {
			t.Errorf("%s: got no error", name)
		}
	}
	for _, bad := range []string{"", "[]", "null", "{", string(raw[:len(raw)-1]) + `,"id":"object2"}`, strings.Repeat("{", 20000)} {
		if _, err := keysrv.ParseObject([]byte(bad)); !errors.Is(err, keysrv.ErrMalformed) {
			t.Errorf("%.20q: got %v, want ErrMalformed", bad, err)
		}
	}
	if _, err := keysrv.ParseObject(bytes.Repeat([]byte(" "), 1<<20)); !errors.Is(err, keysrv.ErrMalformed) {
		t.Errorf("a megabyte: got %v, want ErrMalformed", err)
	}
}
