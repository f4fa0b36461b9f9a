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
func NewToken(tx *db.Tx, rand io.Reader, network quinta.NetworkName, user quinta.UserID, id quinta.DeviceID) (string, error) {
	raw := make([]byte, 32)
	if _, err := io.ReadFull(rand, raw); err != nil {
		return "", fmt.Errorf("making an access token: %w", err)
	}
	token := "q_" + base64.RawURLEncoding.EncodeToString(raw)
	err := tx.Queue(`INSERT INTO device_token (hash, user_id, device, created) VALUES ($1, $2, $3, $4)`,
		tokenHash(token), db.UserOf(network, user), id, tx.Millis())
	return token, err
}

func tokenHash(token string) []byte {
	h := sha256.Sum256([]byte("quinta access " + token))
	return h[:]
}

// An Owner is the user and the device that a token belongs to.
type Owner struct {
	Network quinta.NetworkName
	User    quinta.UserID
	Device  quinta.DeviceID
	// Seen is Device.Seen.
	Seen int64
}

// ErrNoToken says that a token is unknown on the network, or no longer known.
var ErrNoToken = &quinta.Error{Kind: quinta.KindUnauthenticated, Op: "login", Err: errors.New("the access token is unknown")}

// ByToken finds the owner of a token of the network, or returns ErrNoToken.
// Tokens are looked up by a hash, so the time of the look-up tells nothing about
// other tokens.
func ByToken(tx *db.Tx, network quinta.NetworkName, token string) (Owner, error) {
	o := Owner{Network: network}
	if token == "" || len(token) > MaxToken {
		return Owner{}, ErrNoToken
	}
	var u db.User
	var seen *int64
	err := tx.Row(`SELECT t.user_id, t.device, d.seen FROM device_token t JOIN device d ON d.user_id = t.user_id AND d.id = t.device
		WHERE t.hash = $1`, tokenHash(token)).Scan(&u, &o.Device, &seen)
	if errors.Is(err, db.ErrNoRows) || err == nil && u.Network() != network {
		return Owner{}, ErrNoToken
	}
	if seen != nil {
		o.Seen = *seen
	}
	o.User = u.ID()
	return o, err
}

// RevokeTokens ends the tokens of one device.
func RevokeTokens(tx *db.Tx, network quinta.NetworkName, user quinta.UserID, id quinta.DeviceID) error {
	return tx.Queue(`DELETE FROM device_token WHERE user_id = $1 AND device = $2`, db.UserOf(network, user), id)
}
