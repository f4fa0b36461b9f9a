package main

import (
	"crypto/ecdh"
	"crypto/rand"
	"fmt"
	"math"

	"github.com/quinta-chat/quinta/bench/machine"
	"github.com/quinta-chat/quinta/e2ee/megolm"
	"github.com/quinta-chat/quinta/e2ee/olm"
	"github.com/quinta-chat/quinta/internal/base64text"
	"github.com/quinta-chat/quinta/key"
	"github.com/quinta-chat/quinta/testkit/peer/matrix/libolm"
)

// A bench makes one operation count times and returns the nanoseconds of
// processor time of one.
type bench func(count int) (float64, error)

// A row compares one operation with another's.
type row struct {
	id, what    string
	ours, other bench
	// count is how many operations one round measures.
	count int
	// bar is the ratio that must hold; stretch is the one to reach for. Zero is
	// none.
	bar, stretch float64
	// faster rows say how many times as fast as the other ours is: the ratio is
	// turned round, and the bar is the least that must be.
	faster bool
	// pair measures both, if they are not to be measured by turns.
	pair func(rounds int) (ours, other float64, err error)
}

func (r row) ratio(ours, other float64) float64 {
	if r.faster {
		return other / ours
	}
	return ours / other
}

func (r row) holds(ratio float64) bool {
	return r.bar == 0 || r.faster && ratio >= r.bar || !r.faster && ratio <= r.bar
}

func (r row) barText() string {
	sign := "<="
	if r.faster {
		sign = ">="
	}
	if r.bar == 0 {
		return "-"
	}
	return fmt.Sprintf("%s %.2f", sign, r.bar)
}

func (r row) stretchText() string {
	if r.stretch == 0 {
		return "-"
	}
	return fmt.Sprintf("%.2f", r.stretch)
}

// measure runs both by turns and returns the best of each.
func (r row) measure(rounds int) (ours, other float64, err error) {
	if r.pair != nil {
		return r.pair(rounds)
	}
	ours, other = math.Inf(1), math.Inf(1)
	for range rounds {
		a, err := r.ours(r.count)
		if err != nil {
			return 0, 0, err
		}
		b, err := r.other(r.count)
		if err != nil {
			return 0, 0, err
		}
		ours, other = min(ours, a), min(other, b)
	}
	return ours, other, nil
}

// timed makes a bench of an operation that setup prepares.
func timed(setup func() (operation func() error, err error)) bench {
	return func(count int) (float64, error) {
		op, err := setup()
		if err != nil {
			return 0, err
		}
		start, err := machine.Own()
		if err != nil {
			return 0, err
		}
		for range count {
			if err := op(); err != nil {
				return 0, err
			}
		}
		end, err := machine.Own()
		return float64((end - start).Nanoseconds()) / float64(count), err
	}
}

func rows(p *libolm.Peer) []row {
	peer := func(name string) bench { return func(count int) (float64, error) { return p.Bench(name, count) } }
	return []row{
		{id: "C1", what: "Olm outbound session", ours: timed(newSession), other: peer("session"), count: 200, bar: 0.30, stretch: 0.20},
		{id: "C2", what: "Olm message with a ratchet turn", ours: timed(ratchetTurn), other: peer("turn"), count: 200, bar: 0.25, stretch: 0.15},
		{id: "C3", what: "Megolm 256 B encrypt", ours: timed(groupSeal(256)), other: peer("group-encrypt"), count: 2000, bar: 0.60, stretch: 0.38},
		{id: "C3", what: "Megolm 256 B decrypt", ours: timed(groupOpen), other: peer("group-decrypt"), count: 1000, bar: 0.60, stretch: 0.40},
		{id: "C4", what: "Megolm 64 KB encrypt", ours: timed(groupSeal(64 << 10)), other: peer("group-encrypt-64k"), count: 40, bar: 0.13},
		{id: "C5", what: "100 one-time keys", ours: timed(oneTimeKeys), other: peer("onetime"), count: 10, bar: 0.30, stretch: 0.12},
		{id: "C7", what: "X25519 shared secret, of crypto/ecdh", ours: timed(agree), other: timed(agreeECDH), count: 500, bar: 1.05},
		{id: "C7", what: "X25519 key generation, of crypto/ecdh", ours: timed(generate), other: timed(generateECDH), count: 500, bar: 0.5},
		{id: "C9", what: "attachment stream, of 1/(1/CTR + 1/SHA)", ours: timed(sealStream), other: timed(encryptAndHash), count: 4, bar: 0.9, faster: true},
	}
}

// newSession includes reading the keys from base64, as libolm's does.
func newSession() (func() error, error) {
	alice, bob, one, err := twoAccounts()
	if err != nil {
		return nil, err
	}
	identityText, oneText := bob.Identity().String(), one.String()
	return func() error {
		identity, err := key.ParseAgreementPublic[key.Identity](identityText)
		if err != nil {
			return err
		}
		oneTime, err := key.ParseAgreementPublic[key.OneTime](oneText)
		if err != nil {
			return err
		}
		_, err = alice.NewOutbound(rand.Reader, identity, oneTime)
		return err
	}, nil
}

func twoAccounts() (alice, bob *olm.Account, one key.OneTimePublic, err error) {
	if alice, err = olm.NewAccount(rand.Reader); err != nil {
		return nil, nil, one, err
	}
	if bob, err = olm.NewAccount(rand.Reader); err != nil {
		return nil, nil, one, err
	}
	if err = bob.GenerateOneTimeKeys(rand.Reader, 1); err != nil {
		return nil, nil, one, err
	}
	return alice, bob, bob.Unpublished()[0].Key, nil
}

// olmPair returns both ends of a session; the next to seal is bob.
func olmPair() (alice, bob *olm.Session, err error) {
	a, b, one, err := twoAccounts()
	if err != nil {
		return nil, nil, err
	}
	if alice, err = a.NewOutbound(rand.Reader, b.Identity(), one); err != nil {
		return nil, nil, err
	}
	sealed, err := alice.Seal(rand.Reader, []byte("first"))
	if err != nil {
		return nil, nil, err
	}
	m, err := olm.ParsePreKeyMessage(sealed.Body)
	if err != nil {
		return nil, nil, err
	}
	bob, _, err = b.NewInbound(a.Identity(), m)
	return alice, bob, err
}

func openOlm(s *olm.Session, text string) error {
	b, err := base64text.Decode(text)
	if err != nil {
		return err
	}
	m, err := olm.ParseMessage(b)
	if err != nil {
		return err
	}
	_, err = s.Open(m)
	return err
}

func ratchetTurn() (func() error, error) {
	to, from, err := olmPair()
	if err != nil {
		return nil, err
	}
	text := make([]byte, 256)
	return func() error {
		sealed, err := from.Seal(rand.Reader, text)
		if err != nil {
			return err
		}
		if err := openOlm(to, base64text.Encode(sealed.Body)); err != nil {
			return err
		}
		to, from = from, to
		return nil
	}, nil
}

func groupSeal(size int) func() (func() error, error) {
	return func() (func() error, error) {
		out, err := megolm.NewOutbound(rand.Reader)
		if err != nil {
			return nil, err
		}
		text, encoded := make([]byte, size), make([]byte, 0, 2*size+4096)
		return func() error {
			b, err := out.Seal(text)
			if err != nil {
				return err
			}
			// As libolm's caller does, into one buffer for all messages.
			base64text.Append(encoded, b)
			return nil
		}, nil
	}
}

func groupOpen() (func() error, error) {
	out, err := megolm.NewOutbound(rand.Reader)
	if err != nil {
		return nil, err
	}
	in, err := megolm.NewInbound(out.SessionKey())
	if err != nil {
		return nil, err
	}
	sealed, err := out.Seal(make([]byte, 256))
	if err != nil {
		return nil, err
	}
	text := base64text.Encode(sealed)
	return func() error {
		b, err := base64text.Decode(text)
		if err != nil {
			return err
		}
		m, err := megolm.ParseMessage(b)
		if err != nil {
			return err
		}
		_, err = in.Open(m)
		return err
	}, nil
}

func oneTimeKeys() (func() error, error) {
	a, err := olm.NewAccount(rand.Reader)
	if err != nil {
		return nil, err
	}
	return func() error { return a.GenerateOneTimeKeys(rand.Reader, 100) }, nil
}

func agree() (func() error, error) {
	k, err := key.GenerateAgreement[key.Identity](rand.Reader)
	if err != nil {
		return nil, err
	}
	p := k.Public()
	return func() error {
		_, err := key.Agree(k, p)
		return err
	}, nil
}

func agreeECDH() (func() error, error) {
	k, err := ecdh.X25519().GenerateKey(rand.Reader)
	if err != nil {
		return nil, err
	}
	p := k.PublicKey()
	return func() error {
		_, err := k.ECDH(p)
		return err
	}, nil
}

func generate() (func() error, error) {
	return func() error {
		k, err := key.GenerateAgreement[key.OneTime](rand.Reader)
		k.Public()
		return err
	}, nil
}

func generateECDH() (func() error, error) {
	return func() error {
		_, err := ecdh.X25519().GenerateKey(rand.Reader)
		return err
	}, nil
}
