package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"

	"github.com/quinta-chat/quinta/e2ee/megolm"
	"github.com/quinta-chat/quinta/e2ee/olm"
	"github.com/quinta-chat/quinta/testkit/peer/program"
)

// An allocation counts what one operation allocates. Its bar is the line of
// its name in bench/budget.txt.
type allocation struct {
	id, name string
	measure  func() (float64, error)
}

// runs is how many operations are counted.
const runs = 100

func allocations() []allocation {
	return []allocation{
		{id: "C6", name: "olm-seal", measure: olmSeal},
		{id: "C6", name: "olm-open", measure: olmOpen},
		{id: "C6", name: "megolm-seal", measure: megolmSeal},
		{id: "C6", name: "megolm-open", measure: megolmOpen},
		{id: "C6b", name: "megolm-skip", measure: megolmSkip},
		{id: "C8", name: "share-device", measure: shareDevice},
		{id: "C15", name: "chain-again", measure: chainAgain},
	}
}

// budget reads bench/budget.txt.
func budget() (map[string]float64, error) {
	root, err := program.Root()
	if err != nil {
		return nil, err
	}
	b, err := os.ReadFile(root + "/bench/budget.txt")
	if err != nil {
		return nil, err
	}
	out := map[string]float64{}
	for n, line := range strings.Split(string(b), "\n") {
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		name, text, ok := strings.Cut(line, " ")
		v, err := strconv.ParseFloat(text, 64)
		if !ok || err != nil {
			return nil, fmt.Errorf("bench/budget.txt:%d: not a name and a number", n+1)
		}
		out[name] = v
	}
	return out, nil
}

// perRun is testing.AllocsPerRun for an operation that may fail.
func perRun(f func() error) (float64, error) {
	var failed error
	n := testing.AllocsPerRun(runs, func() {
		if err := f(); err != nil {
			failed = err
		}
	})
	return n, failed
}

func olmSeal() (float64, error) {
	_, bob, err := olmPair()
	if err != nil {
		return 0, err
	}
	text := make([]byte, 256)
	if _, err := bob.Seal(rand.Reader, text); err != nil {
		return 0, err
	}
	return perRun(func() error {
		_, err := bob.Seal(rand.Reader, text)
		return err
	})
}

func olmOpen() (float64, error) {
	alice, bob, err := olmPair()
	if err != nil {
		return 0, err
	}
	var sent [][]byte
	for range runs + 2 {
		m, err := bob.Seal(rand.Reader, make([]byte, 256))
		if err != nil {
			return 0, err
		}
		sent = append(sent, m.Body)
	}
	open := func() error {
		m, err := olm.ParseMessage(sent[0])
		if err != nil {
			return err
		}
		sent = sent[1:]
		_, err = alice.Open(m)
		return err
	}
	// The first message turns the ratchet.
	if err := open(); err != nil {
		return 0, err
	}
	return perRun(open)
}

func megolmSeal() (float64, error) {
	out, err := megolm.NewOutbound(rand.Reader)
	if err != nil {
		return 0, err
	}
	text := make([]byte, 256)
	return perRun(func() error {
		_, err := out.Seal(text)
		return err
	})
}

func megolmPair() (*megolm.Outbound, *megolm.Inbound, error) {
	out, err := megolm.NewOutbound(rand.Reader)
	if err != nil {
		return nil, nil, err
	}
	in, err := megolm.NewInbound(out.SessionKey())
	return out, in, err
}

func megolmOpen() (float64, error) {
	out, in, err := megolmPair()
	if err != nil {
		return 0, err
	}
	sealed, err := out.Seal(make([]byte, 256))
	if err != nil {
		return 0, err
	}
	return perRun(func() error {
		m, err := megolm.ParseMessage(sealed)
		if err != nil {
			return err
		}
		_, err = in.Open(m)
		return err
	})
}

// megolmSkip exports at the last index, which is the farthest jump.
func megolmSkip() (float64, error) {
	_, in, err := megolmPair()
	if err != nil {
		return 0, err
	}
	return perRun(func() error {
		_, err := in.Export(1<<32 - 1)
		return err
	})
}

// shareDevice shares a new key with devices that have a session, and counts
// for one device.
func shareDevice() (n float64, err error) {
	const devices = 100
	ctx := context.Background()
	c, err := newCrowd(ctx, devices, true)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, c.close()) }()
	if _, err := c.share(ctx); err != nil {
		return 0, err
	}
	n, err = perRun(func() error { _, err := c.share(ctx); return err })
	return n / devices, err
}

func chainAgain() (float64, error) {
	t, err := newTown(newP256, 1)
	if err != nil {
		return 0, err
	}
	op, err := t.verifiedAgain()
	if err != nil {
		return 0, err
	}
	return perRun(op)
}
