package account

import (
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"io"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/server/db"
)

// An Invite says how an invitation to register may be used.
type Invite struct {
	// Uses is how many registrations it is valid for; 0 means any number.
	Uses int64
	// Expires is until when, in Unix milliseconds; 0 means forever.
	Expires int64
}

// NewInvite makes an invitation and returns its token, 22 characters of
// URL-safe base64. Only a hash of the token is kept.
func NewInvite(tx *db.Tx, rand io.Reader, in Invite) (string, error) {
	raw := make([]byte, 16)
	if _, err := io.ReadFull(rand, raw); err != nil {
		return "", fmt.Errorf("making an invite token: %w", err)
	}
	token := base64.RawURLEncoding.EncodeToString(raw)
	var uses, expires *int64
	if in.Uses > 0 {
		uses = &in.Uses
	}
	if in.Expires > 0 {
		expires = &in.Expires
	}
	err := tx.Queue(`INSERT INTO account_invite (hash, created, expires, uses) VALUES ($1, $2, $3, $4)`,
		inviteHash(token), tx.Millis(), expires, uses)
	return token, err
}

func inviteHash(token string) []byte {
	h := sha256.Sum256([]byte("quinta invite " + token))
	return h[:]
}

// ValidInvite reports whether the token would let someone register now.
func ValidInvite(tx *db.Tx, token string) (bool, error) {
	var n int
	err := tx.Row(`SELECT COUNT(*) FROM account_invite WHERE hash = $1 AND (expires IS NULL OR expires > $2) AND (uses IS NULL OR uses > 0)`,
		inviteHash(token), tx.Millis()).Scan(&n)
	return n > 0, err
}

// UseInvite takes one use of the token, or fails with KindForbidden.
func UseInvite(tx *db.Tx, token string) error {
	n, err := tx.Exec(`UPDATE account_invite SET uses = uses - 1 WHERE hash = $1 AND (expires IS NULL OR expires > $2) AND (uses IS NULL OR uses > 0)`,
		inviteHash(token), tx.Millis())
	if err == nil && n == 0 {
		err = quinta.E(quinta.KindForbidden, "invite", "the registration token is not valid")
	}
	return err
}
