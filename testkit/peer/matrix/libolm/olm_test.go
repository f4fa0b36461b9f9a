//go:build peers

package libolm_test

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/quinta-chat/quinta/e2ee/olm"
	"github.com/quinta-chat/quinta/internal/base64text"
	"github.com/quinta-chat/quinta/testkit/peer/matrix/libolm"
)

// TestAccountsAreTheSame makes one account of the same randomness in both.
func TestAccountsAreTheSame(t *testing.T) {
	t.Parallel()
	p := start(t)
	random := newNoise(1).take(t, 64)
	signing, identity, err := p.Account(0, random)
	if err != nil {
		t.Fatal(err)
	}
	a := must[*olm.Account](t)(olm.NewAccount(bytes.NewReader(random)))
	if a.Signing().String() != signing || a.Identity().String() != identity {
		t.Errorf("got %s and %s, want %s and %s", a.Signing(), a.Identity(), signing, identity)
	}
	if got, want := base64text.Encode(a.Sign([]byte("message"))), must[string](t)(p.Sign(0, []byte("message"))); got != want {
		t.Errorf("signature: got %s, want %s", got, want)
	}
	random = newNoise(2).take(t, 32*20)
	want := must[[]string](t)(p.OneTimeKeys(0, 20, random))
	if err := a.GenerateOneTimeKeys(bytes.NewReader(random), 20); err != nil {
		t.Fatal(err)
	}
	got := a.Unpublished()
	if len(got) != 20 || len(want) != 20 {
		t.Fatalf("got %d keys, want %d", len(got), len(want))
	}
	for i := range got {
		if got[i].Key.String() != want[i] {
			t.Errorf("one-time key %d: got %s, want %s", i, got[i].Key, want[i])
		}
	}
}

// A pairing is a session with its two ends, and what each end sealed.
type pairing struct {
	ends [2]end
	// sent[i] is on its way to ends[i].
	sent [2][]letter
}

type letter struct {
	typ  int
	body string
	text []byte
}

// pairOf makes a session: end 0 starts it, and the first message was opened.
func pairOf(t *testing.T, p *libolm.Peer, seed uint64, oursStarts bool) *pairing {
	t.Helper()
	n := newNoise(seed)
	account := must[*olm.Account](t)(olm.NewAccount(n))
	_, identity, err := p.Account(0, n.take(t, 64))
	if err != nil {
		t.Fatal(err)
	}
	if oursStarts {
		keys := must[[]string](t)(p.OneTimeKeys(0, 1, n.take(t, 32)))
		s := ours{must[*olm.Session](t)(account.NewOutbound(n, identityKey(t, identity), oneTimeKey(t, keys[0])))}
		_, body := s.encrypt(t, nil, []byte("first"))
		if err := p.Inbound(0, 0, account.Identity().String(), body); err != nil {
			t.Fatal(err)
		}
		if got, err := p.Decrypt(0, 0, body); err != nil || string(got) != "first" {
			t.Fatalf("got %q, %v, want first", got, err)
		}
		if err := p.Remove(0, 0); err != nil {
			t.Fatal(err)
		}
		return &pairing{ends: [2]end{s, theirs{p, 0}}}
	}
	if err := account.GenerateOneTimeKeys(n, 1); err != nil {
		t.Fatal(err)
	}
	if err := p.Outbound(0, 0, account.Identity().String(), account.Unpublished()[0].Key.String(), n.take(t, 64)); err != nil {
		t.Fatal(err)
	}
	_, body := theirs{p, 0}.encrypt(t, nil, []byte("first"))
	s, got, err := account.NewInbound(identityKey(t, identity), preKey(t, body))
	if err != nil || string(got) != "first" {
		t.Fatalf("got %q, %v, want first", got, err)
	}
	return &pairing{ends: [2]end{theirs{p, 0}, ours{s}}}
}

// TestConversations lets both makes talk over a network that loses, repeats,
// reorders and changes messages. Each opens what the other sealed.
func TestConversations(t *testing.T) {
	t.Parallel()
	p := start(t)
	opened, refused := 0, 0
	for seed := range uint64(1500) {
		c := pairOf(t, p, seed, seed%2 == 0)
		if a, b := c.ends[0].id(t), c.ends[1].id(t); a != b {
			t.Fatalf("seed %d: got session ids %s and %s, want one", seed, a, b)
		}
		dice := rand.New(rand.NewPCG(seed, 7))
		for range 12 {
			from := dice.IntN(2)
			for range 1 + dice.IntN(3) {
				c.send(t, dice, from)
			}
			o, r := c.deliver(t, dice, 1-from, seed)
			opened, refused = opened+o, refused+r
		}
	}
	t.Logf("%d messages opened, %d refused", opened, refused)
	if opened < 15000 || refused < 3000 {
		t.Errorf("got %d messages opened and %d refused: too few", opened, refused)
	}
}

func (c *pairing) send(t *testing.T, dice *rand.Rand, from int) {
	t.Helper()
	text := make([]byte, dice.IntN(40))
	random := make([]byte, 32)
	for _, b := range [][]byte{text, random} {
		for i := range b {
			b[i] = byte(dice.Uint32())
		}
	}
	typ, body := c.ends[from].encrypt(t, random, text)
	c.sent[1-from] = append(c.sent[1-from], letter{typ, body, text})
}

// deliver hands what is on its way to one end, in any order; some of it is
// lost, some comes twice or changed, some stays for later.
func (c *pairing) deliver(t *testing.T, dice *rand.Rand, to int, seed uint64) (opened, refused int) {
	t.Helper()
	dice.Shuffle(len(c.sent[to]), func(i, j int) { c.sent[to][i], c.sent[to][j] = c.sent[to][j], c.sent[to][i] })
	var later []letter
	for _, m := range c.sent[to] {
		switch dice.IntN(8) {
		case 0: // lost
			continue
		case 1:
			if len(later) < 2 {
				later = append(later, m)
				continue
			}
		case 2:
			if got, err := c.ends[to].decrypt(t, m.typ, changed(dice, m.body)); err == nil {
				t.Fatalf("seed %d: got %x from a changed message, want a refusal", seed, got)
			}
			refused++
		}
		got, err := c.ends[to].decrypt(t, m.typ, m.body)
		if err != nil || !bytes.Equal(got, m.text) {
			t.Fatalf("seed %d: end %d: got %x, %v, want %x", seed, to, got, err, m.text)
		}
		opened++
		if dice.IntN(3) == 0 {
			if got, err := c.ends[to].decrypt(t, m.typ, m.body); err == nil {
				t.Fatalf("seed %d: got %x a second time, want a refusal", seed, got)
			}
			refused++
		}
	}
	c.sent[to] = later
	return opened, refused
}

// changed flips one bit of the message inside body.
func changed(dice *rand.Rand, body string) string {
	b, err := base64text.Decode(body)
	if err != nil {
		panic(err)
	}
	// The last bytes are the MAC of the message, which the changed part is
	// in, whether it is a pre-key message or not.
	b[len(b)-1-dice.IntN(30)] ^= 1 << dice.IntN(8)
	return base64text.Encode(b)
}

// TestMessagesAreTheSame plays one conversation in both makes with the same
// randomness: all four ends write the same bytes.
func TestMessagesAreTheSame(t *testing.T) {
	t.Parallel()
	p := start(t)
	for seed := range uint64(50) {
		n := newNoise(seed + 5000)
		ra, rb, ro, rs := n.take(t, 64), n.take(t, 64), n.take(t, 32), n.take(t, 64)
		_, ia, err := p.Account(1, ra)
		if err != nil {
			t.Fatal(err)
		}
		_, ib, err := p.Account(2, rb)
		if err != nil {
			t.Fatal(err)
		}
		one := must[[]string](t)(p.OneTimeKeys(2, 1, ro))[0]
		if err := p.Outbound(1, 1, ib, one, rs); err != nil {
			t.Fatal(err)
		}
		a := must[*olm.Account](t)(olm.NewAccount(bytes.NewReader(ra)))
		b := must[*olm.Account](t)(olm.NewAccount(bytes.NewReader(rb)))
		if err := b.GenerateOneTimeKeys(bytes.NewReader(ro), 1); err != nil {
			t.Fatal(err)
		}
		sa := ours{must[*olm.Session](t)(a.NewOutbound(bytes.NewReader(rs), identityKey(t, ib), oneTimeKey(t, one)))}
		_, first := sa.encrypt(t, nil, []byte("first"))
		if _, want := (theirs{p, 1}).encrypt(t, nil, []byte("first")); first != want {
			t.Fatalf("seed %d: first message: got %s, want %s", seed, first, want)
		}
		if err := p.Inbound(2, 2, ia, first); err != nil {
			t.Fatal(err)
		}
		must[[]byte](t)(p.Decrypt(2, 0, first))
		sb, _, err := b.NewInbound(identityKey(t, ia), preKey(t, first))
		if err != nil {
			t.Fatal(err)
		}
		samePlay(t, seed, n, [2]ours{sa, {sb}}, [2]theirs{{p, 1}, {p, 2}})
	}
}

func samePlay(t *testing.T, seed uint64, n *noise, us [2]ours, them [2]theirs) {
	t.Helper()
	dice := rand.New(rand.NewPCG(seed, 9))
	for i := range 30 {
		from := dice.IntN(2)
		random, text := n.take(t, 32), fmt.Append(nil, "message ", i)
		typ, got := us[from].encrypt(t, random, text)
		wantType, want := them[from].encrypt(t, random, text)
		if got != want || typ != wantType {
			t.Fatalf("seed %d, message %d: got type %d %s, want %d %s", seed, i, typ, got, wantType, want)
		}
		if dice.IntN(4) == 0 {
			continue
		}
		for _, e := range []end{us[1-from], them[1-from]} {
			if opened, err := e.decrypt(t, typ, got); err != nil || !bytes.Equal(opened, text) {
				t.Fatalf("seed %d, message %d: got %q, %v, want %q", seed, i, opened, err, text)
			}
		}
	}
}

// TestRefusalsAgree: what one make refuses when a session is set up, the other
// does too.
func TestRefusalsAgree(t *testing.T) {
	t.Parallel()
	p := start(t)
	n := newNoise(9000)
	ra := n.take(t, 64)
	_, identity, err := p.Account(0, ra)
	if err != nil {
		t.Fatal(err)
	}
	a := must[*olm.Account](t)(olm.NewAccount(bytes.NewReader(ra)))
	ro := n.take(t, 32)
	one := must[[]string](t)(p.OneTimeKeys(0, 1, ro))[0]
	if err := a.GenerateOneTimeKeys(bytes.NewReader(ro), 1); err != nil {
		t.Fatal(err)
	}
	sender := must[*olm.Account](t)(olm.NewAccount(n))
	s := ours{must[*olm.Session](t)(sender.NewOutbound(n, identityKey(t, identity), oneTimeKey(t, one)))}
	_, body := s.encrypt(t, nil, []byte("x"))

	var code libolm.Error
	if err := p.Inbound(0, 0, identity, body); !errors.As(err, &code) {
		t.Errorf("another sender: libolm says %v, want a refusal", err)
	}
	if _, _, err := a.NewInbound(a.Identity(), preKey(t, body)); !errors.Is(err, olm.ErrSenderMismatch) {
		t.Errorf("another sender: got %v, want ErrSenderMismatch", err)
	}
	if err := p.Inbound(0, 0, sender.Identity().String(), body); err != nil {
		t.Fatal(err)
	}
	if ok := must[bool](t)(p.Matches(0, sender.Identity().String(), body)); !ok {
		t.Error("libolm does not match its own session")
	}
	if err := p.Remove(0, 0); err != nil {
		t.Fatal(err)
	}
	if _, _, err := a.NewInbound(sender.Identity(), preKey(t, body)); err != nil {
		t.Fatal(err)
	}
	if err := p.Inbound(1, 0, sender.Identity().String(), body); !errors.As(err, &code) {
		t.Errorf("a used one-time key: libolm says %v, want a refusal", err)
	}
	if _, _, err := a.NewInbound(sender.Identity(), preKey(t, body)); !errors.Is(err, olm.ErrUnknownOneTimeKey) {
		t.Errorf("a used one-time key: got %v, want ErrUnknownOneTimeKey", err)
	}
}
