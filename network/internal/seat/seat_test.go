package seat_test

import (
	"crypto/rand"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/client"
	"github.com/quinta-chat/quinta/client/store/memory"
	"github.com/quinta-chat/quinta/e2ee"
	"github.com/quinta-chat/quinta/network/internal/seat"
)

var env = e2ee.Env{Now: time.Now, Rand: rand.Reader}

// TestLogin: a login that is repeated is of the same device, one of someone
// else is not; after it the account is there and no other login is made.
func TestLogin(t *testing.T) {
	t.Parallel()
	ctx, st := t.Context(), memory.New()
	plan := func(base, user string) seat.Intent {
		t.Helper()
		begun, err := seat.Begin(ctx, st, "logging in", user)
		if err != nil {
			t.Fatal(err)
		}
		p, err := seat.Plan(ctx, st, env, begun, base, user, 12)
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	if _, err := seat.Open(ctx, st); quinta.KindOf(err) != quinta.KindUnauthenticated {
		t.Errorf("got %v, want that no one is logged in", err)
	}
	if _, err := seat.Begin(ctx, st, "logging in", ""); quinta.KindOf(err) != quinta.KindInvalid {
		t.Errorf("got %v, want a user asked for", err)
	}
	first, again := plan("https://a", "alice"), plan("https://a", "alice")
	if first != again || len(first.Device) != 12 {
		t.Errorf("got %+v and then %+v, want the same device", first, again)
	}
	for _, other := range []seat.Intent{plan("https://b", "alice"), plan("https://b", "bob")} {
		if other.Device == first.Device {
			t.Errorf("got device %s for another login", other.Device)
		}
	}
	a := seat.Account{Base: "https://a", User: "alice", Device: first.Device, Name: "phone", Token: "canary"}
	if err := st.Update(ctx, func(tx e2ee.Tx) error { return seat.Settle(tx, a) }); err != nil {
		t.Fatal(err)
	}
	if got, err := seat.Open(ctx, st); err != nil || got != a || got.Self().Name != "phone" {
		t.Errorf("got %v %v, want the account", got, err)
	}
	if _, err := seat.Begin(ctx, st, "logging in", "alice"); quinta.KindOf(err) != quinta.KindExists {
		t.Errorf("got %v, want that someone is logged in", err)
	}
	if out := fmt.Sprintf("%v %+v %#v %s", a, a, a, a); strings.Contains(out, "canary") {
		t.Errorf("the token was printed: %s", out)
	}
}

func TestDamagedStore(t *testing.T) {
	t.Parallel()
	st := memory.New()
	if err := st.Update(t.Context(), func(tx e2ee.Tx) error { return tx.Put(seat.KeyAccount, []byte("{")) }); err != nil {
		t.Fatal(err)
	}
	if _, err := seat.Open(t.Context(), st); err == nil || quinta.KindOf(err) == quinta.KindUnauthenticated {
		t.Errorf("got %v, want that the store is damaged", err)
	}
}

func TestMessage(t *testing.T) {
	t.Parallel()
	one, err := seat.NewTxn(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	if two, err := seat.NewTxn(rand.Reader); err != nil || one == two || len(one) != 22 {
		t.Errorf("got %q and %q, %v; want two ids of 16 bytes", one, two, err)
	}
	a, now := seat.Account{User: "alice", Device: "D"}, time.Now()
	m := a.Message("room", client.Draft{Text: "hi", Mentions: []quinta.UserID{"bob"}}, one, now)
	if m.Kind != quinta.MessageText || m.Sender != "alice" || m.Device != "D" || m.Room != "room" || m.Txn != one || !m.Time.Equal(now) || m.Text != "hi" || len(m.Mentions) != 1 {
		t.Errorf("got %+v", m)
	}
	if m := a.Message("room", client.Notice("hi"), one, now); m.Kind != quinta.MessageNotice {
		t.Errorf("got kind %s, want that of the draft", m.Kind)
	}
}
