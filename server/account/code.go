package account

import (
	"crypto/sha256"
	"crypto/subtle"
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/server/db"
)

const (
	// CodeLength is the number of digits of a login code.
	CodeLength = 6
	// CodeTries is how often a code may be tried, the right time included.
	CodeTries = 5
	// CodeLife is how long a code is valid, in milliseconds.
	CodeLife = 10 * 60 * 1000
)

// NewCode makes a login code of CodeLength digits for an account on one
// network, in place of the one before it. The caller hands it to the person;
// only a hash is stored. A new code has all its tries, so a network that makes
// codes whenever a client asks must limit how often. A closed account gives an
// error of KindNotFound.
func NewCode(tx *db.Tx, rand io.Reader, network quinta.NetworkName, name Name) (string, error) {
	if there, err := Exists(tx, name); err != nil {
		return "", err
	} else if !there {
		return "", quinta.E(quinta.KindNotFound, "account", "there is no such account")
	}
	var raw [8]byte
	if _, err := io.ReadFull(rand, raw[:]); err != nil {
		return "", fmt.Errorf("making a login code: %w", err)
	}
	// 2^64 is so much larger than a million that the remainder has no bias
	// worth naming.
	code := fmt.Sprintf("%0*d", CodeLength, binary.BigEndian.Uint64(raw[:])%1_000_000)
	return code, tx.Queue(`INSERT INTO account_code (network, name, hash, expires, tries) VALUES ($1, $2, $3, $4, $5)
		ON CONFLICT (network, name) DO UPDATE SET hash = excluded.hash, expires = excluded.expires, tries = excluded.tries`,
		network, name, codeHash(network, name, code), tx.Millis()+CodeLife, CodeTries)
}

// UseCode reports whether code is the login code of the account on the
// network. The right code is used up with that; a wrong one costs a try, and
// after CodeTries the code is gone. The answer false is not an error, so that
// the transaction commits and the try counts.
func UseCode(tx *db.Tx, network quinta.NetworkName, name Name, code string) (bool, error) {
	if len(code) != CodeLength {
		code = ""
	}
	var hash []byte
	var expires, tries int64
	err := tx.Row(`SELECT hash, expires, tries FROM account_code WHERE network = $1 AND name = $2`, network, name).Scan(&hash, &expires, &tries)
	if errors.Is(err, db.ErrNoRows) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	right := subtle.ConstantTimeCompare(hash, codeHash(network, name, code)) == 1 && expires > tx.Millis()
	if right || tries <= 1 || expires <= tx.Millis() {
		return right, tx.Queue(`DELETE FROM account_code WHERE network = $1 AND name = $2`, network, name)
	}
	return false, tx.Queue(`UPDATE account_code SET tries = tries - 1 WHERE network = $1 AND name = $2`, network, name)
}

// SweepCodes removes codes that have expired, at most limit of them, and
// reports whether there may be more.
func SweepCodes(tx *db.Tx, limit int) (more bool, err error) {
	n, err := tx.Exec(`DELETE FROM account_code WHERE (network, name) IN
		(SELECT network, name FROM account_code WHERE expires <= $1 ORDER BY expires LIMIT $2)`, tx.Millis(), limit)
	return int(n) >= limit, err
}

func codeHash(network quinta.NetworkName, name Name, code string) []byte {
	h := sha256.Sum256([]byte("quinta login code " + string(network) + " " + string(name) + " " + code))
	return h[:]
}
