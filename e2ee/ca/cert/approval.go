package cert

import (
	"crypto"
	"encoding/json"
	"fmt"
	"io"
	"time"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/internal/canonicaljson"
	"github.com/quinta-chat/quinta/internal/exactjson"
)

// approveType separates the signatures of approvals from all others.
const approveType = "quinta-ca-approve/1"

// An ApprovalStatement is what a device signs to approve that another device
// of the same user enrols a key.
type ApprovalStatement struct {
	Type     string          `json:"type"`
	Username quinta.UserID   `json:"username"`
	Device   quinta.DeviceID `json:"device"`
	// KeyID is the fingerprint of the approved key, and By that of the
	// approving signing key.
	KeyID Fingerprint `json:"keyId"`
	By    Fingerprint `json:"by"`
	Time  int64       `json:"ts"` // Unix milliseconds
}

// An Approval is a statement with its signature.
type Approval struct {
	Statement json.RawMessage `json:"statement"`
	Signature []byte          `json:"signature"`
}

// NewApproval signs an approval with the signing key of the old device.
func NewApproval(rand io.Reader, st ApprovalStatement, key crypto.Signer) (*Approval, error) {
	st.Type = approveType
	raw, err := canonicaljson.Marshal(&st)
	if err != nil {
		return nil, err
	}
	sig, err := signStatement(rand, raw, key)
	return &Approval{Statement: raw, Signature: sig}, err
}

// Check verifies the signature with the public key of the approving device,
// and that the statement has the expected content and a time near now.
func (a *Approval) Check(want ApprovalStatement, pub any, now time.Time) error {
	if len(a.Statement) > maxRequest || canonicaljson.Valid(a.Statement) != nil {
		return ErrMalformed
	}
	var st ApprovalStatement
	if exactjson.Unmarshal(a.Statement, &st) != nil {
		return ErrMalformed
	}
	want.Type, want.Time = approveType, st.Time
	canonical, err := canonicaljson.Marshal(&want)
	if err != nil {
		return err
	}
	given, err := canonicaljson.Canonical(a.Statement)
	if err != nil {
		return ErrMalformed
	}
	if string(canonical) != string(given) {
		return fmt.Errorf("%w: the statement does not cover this request", ErrMismatch)
	}
	if d := now.Sub(time.UnixMilli(st.Time)); d > renewalWindow || d < -renewalWindow {
		return fmt.Errorf("%w: the statement's time is too far from the server's", ErrReplayed)
	}
	if !verifyStatement(given, a.Signature, pub) {
		return ErrPossession
	}
	return nil
}
