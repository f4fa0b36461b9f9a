package cert_test

import (
	"crypto/rand"
	"errors"
	"testing"
	"time"

	"github.com/quinta-chat/quinta/e2ee/ca/cert"
	"github.com/quinta-chat/quinta/testkit/town"
)

func TestApproval(t *testing.T) {
	t.Parallel()
	k := town.Key(t)
	st := cert.ApprovalStatement{Username: "a@hs1", Device: "A", KeyID: "k", By: "b", Time: now.UnixMilli()}
	a := must(cert.NewApproval(rand.Reader, st, k))
	if err := a.Check(st, k.Public(), now.Add(time.Minute)); err != nil {
		t.Error(err)
	}
	if err := a.Check(st, town.Key(t).Public(), now); !errors.Is(err, cert.ErrPossession) {
		t.Errorf("another key: got %v", err)
	}
	if err := a.Check(st, k.Public(), now.Add(time.Hour)); !errors.Is(err, cert.ErrReplayed) {
		t.Errorf("old: got %v", err)
	}
	other := st
	other.KeyID = "other"
	if err := a.Check(other, k.Public(), now); !errors.Is(err, cert.ErrMismatch) {
		t.Errorf("another key approved: got %v", err)
	}
}
