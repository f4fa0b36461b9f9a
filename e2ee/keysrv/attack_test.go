package keysrv_test

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/e2ee"
	"github.com/quinta-chat/quinta/e2ee/keysrv"
)

// TestAttack01NotPermitted: a key that the server refuses is one reason, told
// once, and the message opens if the server changes its mind.
func TestAttack01NotPermitted(t *testing.T) {
	t.Parallel()
	p, a, b, room := couple(t)
	a.says(room, "secret")
	refuse := true
	p.bend = func(d *device, r keysrv.Req) (keysrv.Ans, bool) {
		if refuse && d == b && r.Kind == keysrv.ReqObjects {
			return keysrv.Ans{Refused: r.IDs}, true
		}
		return keysrv.Ans{}, false
	}
	b.settle()
	b.told(quinta.ReasonNotPermitted)
	p.later(time.Minute)
	b.settle()
	b.told()
	refuse = false
	p.later(time.Hour)
	b.settle()
	b.reads("secret")
}

// TestAttack06MadeUpDevice: the operator of a server lists a device that no
// device of the user approved. It is loud, gets no key, and what it writes is
// not believed.
func TestAttack06MadeUpDevice(t *testing.T) {
	t.Parallel()
	p, a, b, room := couple(t)
	a.says(room, "before")
	b.settle()
	b.take()
	evil := p.login(juliet, 66)
	a.take()
	a.hint(juliet)
	if !has(a.take(), e2ee.EventKeyChanged) {
		t.Error("a device that nothing vouches for made no event")
	}
	a.says(room, "after")
	evil.settle()
	evil.told(quinta.ReasonNoKeyYet, quinta.ReasonNoKeyYet)
	// The server says that it waits for copies, and lets it make keys.
	for _, id := range []string{p.archive[0].item.ObjectID, p.archive[1].item.ObjectID} {
		p.wants[keysrv.Want{ObjectID: id, User: juliet, Device: evil.id}] = true
	}
	a.hint()
	b.hint(juliet)
	b.hint()
	evil.hint(juliet)
	p.later(time.Hour)
	evil.settle()
	for _, o := range p.objects {
		if o.has(juliet, evil.id) {
			t.Error("a key was wrapped for a device that nothing vouches for")
		}
	}
	// As if the server said that it is the first one.
	p.devices[juliet][0], p.devices[juliet][1] = p.devices[juliet][1], p.devices[juliet][0]
	p.bend = func(d *device, r keysrv.Req) (keysrv.Ans, bool) {
		if d == evil && r.Kind == keysrv.ReqCreate {
			return p.create(d, r.Create), true
		}
		return keysrv.Ans{}, false
	}
	evil.hint(juliet)
	evil.says(evil.direct(romeo), "I am Juliet")
	if len(p.archive) != 3 {
		t.Fatalf("the stage is wrong: %d stanzas", len(p.archive))
	}
	a.settle()
	a.told(quinta.ReasonSenderMismatch)
}

// TestAttack07StanzaMoved: a stanza of another sender, receiver, id or object.
func TestAttack07StanzaMoved(t *testing.T) {
	t.Parallel()
	p, a, b, room := couple(t)
	c := p.login(tybalt, 3)
	a.says(room, "one", "two")
	c.says(c.direct(juliet), "three")
	b.settle()
	b.reads("one", "two", "three")
	one, three := p.fetch(juliet, "").Items[0], p.fetch(juliet, "").Items[2]
	for name, change := range map[string]func(it *keysrv.Item){
		"sender and room": func(it *keysrv.Item) { it.From, it.Room = tybalt, quinta.RoomID(tybalt) },
		"own":             func(it *keysrv.Item) { it.From = juliet },
		"stranger":        func(it *keysrv.Item) { it.From = tybalt },
		"object":          func(it *keysrv.Item) { it.ObjectID = three.ObjectID },
	} {
		it := one
		it.StanzaID += quinta.MessageID(" " + name)
		change(&it)
		b.receive(it)
		b.told(quinta.ReasonSenderMismatch)
	}
	it := one
	it.StanzaID = "another"
	b.receive(it)
	b.told(quinta.ReasonTampered)
}

// TestAttack08Repeated: the same stanza from the archive, as a carbon and from
// offline storage is one message; another under its id is refused; equal texts
// are two messages.
func TestAttack08Repeated(t *testing.T) {
	t.Parallel()
	p, a, b, room := couple(t)
	a.says(room, "same", "same")
	items := p.fetch(juliet, "").Items
	b.receive(items[0])
	b.receive(items[0], items[0])
	b.settle()
	b.settle()
	b.reads("same", "same")
	b.receive(items...)
	b.told()
	moved := items[1]
	moved.StanzaID = items[0].StanzaID
	b.receive(moved)
	b.told(quinta.ReasonReplayed)
	b.receive(moved)
	b.told(quinta.ReasonReplayed)
	// Repeated before its key is there.
	c := p.login(juliet, 9)
	c.settle()
	c.receive(items...)
	c.told(quinta.ReasonNoKeyYet, quinta.ReasonNoKeyYet)
}

// TestAttack09Payloads: what is not a payload is refused with a reason, and told
// once.
func TestAttack09Payloads(t *testing.T) {
	t.Parallel()
	p, a, b, room := couple(t)
	a.says(room, "one")
	b.settle()
	b.take()
	good := p.fetch(juliet, "").Items[0]
	for i, c := range []struct {
		text string
		want quinta.Reason
	}{
		{"", quinta.ReasonMalformed}, {"!", quinta.ReasonMalformed}, {strings.Repeat("A", 10<<20), quinta.ReasonMalformed},
		{"5MFUu9BmMxjkAhHs5OSqjQ==", quinta.ReasonMalformed}, {"Ag" + good.Text[2:], quinta.ReasonUnsupported}, {good.Text[:len(good.Text)-4], quinta.ReasonTampered},
		{"AQ" + strings.Repeat("A", 62), quinta.ReasonTampered},
	} {
		it := good
		it.Text, it.StanzaID = c.text, quinta.MessageID(fmt.Sprint("bad", i))
		b.receive(it)
		b.told(c.want)
		if c.want == quinta.ReasonTampered {
			b.receive(it)
			b.told()
		}
	}
	blanks := good
	a.says(room, "two")
	blanks = p.fetch(juliet, "").Items[1]
	blanks.Text = " \n" + blanks.Text + " "
	b.receive(blanks)
	b.reads("two")
	b.settle()
	b.reads()
}

// TestAttack10Downgrade: a sealed conversation takes no escrow key and no legacy
// one, whatever the server says.
func TestAttack10Downgrade(t *testing.T) {
	t.Parallel()
	for _, mode := range []keysrv.Mode{keysrv.ModeEscrow, "cbc"} {
		p, a, b, room := couple(t)
		a.says(room, "one")
		b.settle()
		b.reads("one")
		k := bytes.Repeat([]byte{7}, 32)
		suite := keysrv.SuiteGCM
		if mode == "cbc" {
			suite = keysrv.SuiteCBC
		}
		p.objects["forged"] = &stored{users: []quinta.UserID{romeo, juliet}, object: keysrv.Object{ID: "forged", Conversation: keysrv.DirectID(romeo, juliet), Mode: keysrv.ModeEscrow,
			Suite: suite, Created: p.now, Expires: p.now.Add(time.Hour), Creator: romeo, Key: k}}
		it := p.fetch(juliet, "").Items[0]
		it.ObjectID, it.StanzaID = "forged", "forged"
		b.receive(it)
		events := b.told(quinta.ReasonUnsupported)
		if !has(events, e2ee.EventKeyChanged) {
			t.Errorf("%s: got %+v, want a loud event", mode, events)
		}
	}
}

// TestAttack11NothingInClear: whatever the key server does, the text is not in
// any request.
func TestAttack11NothingInClear(t *testing.T) {
	t.Parallel()
	p, a, b, room := couple(t)
	const text = "the text that nobody sees"
	for _, ans := range []keysrv.Ans{{Code: keysrv.CodeConflict}, {Code: keysrv.CodeUnapproved}, {Code: "internal"}, {Code: keysrv.CodeStale}, {}} {
		p.bend = func(d *device, r keysrv.Req) (keysrv.Ans, bool) {
			if out := fmt.Sprintf("%+v %s", r, e2ee.JSON(r)); strings.Contains(out, text) {
				t.Errorf("the text is in a request: %s", r.Kind)
			}
			if r.Kind == keysrv.ReqCreate && ans.Code != "" {
				return ans, true
			}
			return keysrv.Ans{}, false
		}
		a.post(room, text)
		a.flush()
		if ans.Code != "" && len(p.archive) != 0 {
			t.Fatalf("%s: a message left without a key", ans.Code)
		}
		p.later(time.Minute)
	}
	a.flush()
	b.settle()
	b.reads(text, text, text, text, text)
}

// TestAttack11ModeRefused: a server that has the conversation in another mode
// gets no message of it.
func TestAttack11ModeRefused(t *testing.T) {
	t.Parallel()
	p, a, _, room := couple(t)
	p.modes[keysrv.DirectID(romeo, juliet)] = keysrv.ModeEscrow
	a.says(room, "secret")
	if !has(a.take(), e2ee.EventFailed) || len(p.archive) != 0 {
		t.Error("a sealed message left, or nothing was told")
	}
}

// TestAttack12WrongCopies: the server swaps the copy, the statement, the creator
// or the agreement key of a device.
func TestAttack12WrongCopies(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		change func(p *post, o *keysrv.Object)
		want   quinta.Reason
	}{
		"copy": {func(p *post, o *keysrv.Object) {
			w := *o.Wrapped
			w.Sealed = bytes.Clone(w.Sealed)
			w.Sealed[50] ^= 1
			o.Wrapped = &w
		}, quinta.ReasonTampered},
		"commitment":   {func(p *post, o *keysrv.Object) { o.Check = bytes.Repeat([]byte{1}, 32) }, quinta.ReasonTampered},
		"signature":    {func(p *post, o *keysrv.Object) { o.Signature = bytes.Repeat([]byte{1}, 64) }, quinta.ReasonTampered},
		"expiry":       {func(p *post, o *keysrv.Object) { o.Expires = o.Expires.Add(time.Hour) }, quinta.ReasonTampered},
		"conversation": {func(p *post, o *keysrv.Object) { o.Conversation = keysrv.DirectID(juliet, tybalt) }, quinta.ReasonSenderMismatch},
		"creator":      {func(p *post, o *keysrv.Object) { o.Creator = tybalt }, quinta.ReasonSenderMismatch},
		"no copy":      {func(p *post, o *keysrv.Object) { o.Wrapped = nil }, quinta.ReasonNoKeyYet},
		"form":         {func(p *post, o *keysrv.Object) { o.Check = nil }, quinta.ReasonMalformed},
	} {
		p, a, b, room := couple(t)
		a.says(room, "secret")
		p.bend = func(d *device, r keysrv.Req) (keysrv.Ans, bool) {
			if d != b || r.Kind != keysrv.ReqObjects {
				return keysrv.Ans{}, false
			}
			ans := p.read(d, r.IDs)
			for i := range ans.Objects {
				c.change(p, &ans.Objects[i])
			}
			return ans, true
		}
		b.settle()
		t.Run(name, func(t *testing.T) { b.p.t = t; b.told(c.want) })
		// An honest answer later opens it.
		p.t, p.bend = t, nil
		p.later(time.Hour)
		b.settle()
		b.reads("secret")
	}
	// Other keys for a known device.
	p, a, b, room := couple(t)
	a.says(room, "one")
	a.take()
	swapped := p.devices[juliet][0]
	evil := p.device(juliet, 66, keysrv.Policy{})
	var record keysrv.Device
	evil.do(func(tx e2ee.Tx) (_ []e2ee.Event, err error) { record, _, err = evil.m.Self(tx); return nil, err })
	swapped.Agreement = record.Agreement
	p.devices[juliet][0] = swapped
	a.hint(juliet)
	if !has(a.take(), e2ee.EventKeyChanged) {
		t.Error("swapped keys made no event")
	}
	_ = b
}

// TestAttack12ForeignObject: an answer with an object that was not asked for
// changes nothing.
func TestAttack12ForeignObject(t *testing.T) {
	t.Parallel()
	p, a, b, room := couple(t)
	a.says(room, "secret")
	p.bend = func(d *device, r keysrv.Req) (keysrv.Ans, bool) {
		if d != b || r.Kind != keysrv.ReqObjects {
			return keysrv.Ans{}, false
		}
		ans := p.read(d, r.IDs)
		ans.Objects[0].ID = "another"
		return ans, true
	}
	b.settle()
	b.told()
	if b.kept("key/", "") {
		t.Error("a key was kept that nothing asked for")
	}
}

// TestAttack12WantOfAStranger: a server that claims that a stranger waits for a
// key gets no copy for them.
func TestAttack12WantOfAStranger(t *testing.T) {
	t.Parallel()
	p, a, b, room := couple(t)
	c := p.login(tybalt, 3)
	a.says(room, "secret")
	b.settle()
	id := p.archive[0].item.ObjectID
	p.wants[keysrv.Want{ObjectID: id, User: tybalt, Device: c.id}] = true
	wraps := 0
	p.bend = func(d *device, r keysrv.Req) (keysrv.Ans, bool) {
		if r.Kind == keysrv.ReqWrap {
			wraps++
		}
		return keysrv.Ans{}, false
	}
	a.hint()
	b.hint()
	if wraps != 0 {
		t.Error("a copy was made for a stranger")
	}
}

// TestAttack18NoSecretPrinted: neither requests nor the errors of a machine show
// a key.
func TestAttack18NoSecretPrinted(t *testing.T) {
	t.Parallel()
	p, a, _, room := couple(t)
	var secrets []string
	var seen strings.Builder
	p.bend = func(d *device, r keysrv.Req) (keysrv.Ans, bool) {
		fmt.Fprintf(&seen, "%v %+v %s\n", r, r, e2ee.JSON(r))
		return keysrv.Ans{}, false
	}
	a.says(room, "secret")
	a.do(func(tx e2ee.Tx) ([]e2ee.Event, error) {
		k, err := a.m.Signing(tx)
		if err != nil {
			return nil, err
		}
		secrets = append(secrets, string(k.Secret()))
		fmt.Fprintf(&seen, "%v %+v %#v", a.m, k, k)
		return nil, nil
	})
	for _, s := range secrets {
		for _, form := range []string{s, fmt.Sprintf("%x", s), string(e2ee.JSON([]byte(s)))} {
			if strings.Contains(seen.String(), strings.Trim(form, `"`)) {
				t.Error("a private key was printed")
			}
		}
	}
}
