package device

import (
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"io"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/server/db"
)

// MaxToken bounds the length of a token that is looked up, in bytes.
const MaxToken = 512

// NewToken makes an access token for a device and returns it: "q_" and 43
// characters of URL-safe base64. Only its hash is kept.
func NewToken(tx *db.Tx, rand io.Reader, user quinta.UserID, id quinta.DeviceID) (string, error) {
	raw := make([]byte, 32)
	if _, err := io.ReadFull(rand, raw); err != nil {
		return "", fmt.Errorf("making an access token: %w", err)
	}
	token := "q_" + base64.RawURLEncoding.EncodeToString(raw)
	err := tx.Do(`INSERT INTO device_token (hash, user_id, device, created) VALUES ($1, $2, $3, $4)`,
		tokenHash(token), user, id, tx.Millis())
	return token, err
}

func tokenHash(token string) []byte {
	h := sha256.Sum256([]byte("quinta access " + token))
	return h[:]
}

// An Owner is whose a token is.
type Owner struct {
	User   quinta.UserID
	Device quinta.DeviceID
	// Seen is Device.Seen.
	Seen int64
}

// ErrNoToken says that a token is not known, or not any more.
var ErrNoToken = &quinta.Error{Kind: quinta.KindUnauthenticated, Op: "login", Err: errors.New("the access token is not known")}

// ByToken finds whose a token is, or returns ErrNoToken. Tokens are looked up
// by a hash, so the time of the look-up tells nothing about other tokens.
func ByToken(tx *db.Tx, token string) (Owner, error) {
	var o Owner
	if token == "" || len(token) > MaxToken {
		return o, ErrNoToken
	}
	var seen *int64
	err := tx.Row(`SELECT t.user_id, t.device, d.seen FROM device_token t JOIN device d ON d.user_id = t.user_id AND d.id = t.device
		WHERE t.hash = $1`, tokenHash(token)).Scan(&o.User, &o.Device, &seen)
	if errors.Is(err, db.ErrNoRows) {
		return o, ErrNoToken
	}
	if seen != nil {
		o.Seen = *seen
	}
	return o, err
}

// RevokeTokens ends the tokens of one device.
func RevokeTokens(tx *db.Tx, user quinta.UserID, id quinta.DeviceID) error {
	return tx.Do(`DELETE FROM device_token WHERE user_id = $1 AND device = $2`, user, id)
}
