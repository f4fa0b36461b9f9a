package mtprotoserver

import (
	"encoding/binary"
	"time"
)

const (
	// saltLife is how long a salt is new; it is good for twice as long.
	saltLife = time.Hour
	// maxFirst bounds the first salts that are kept. A client whose salt is not
	// known any more is told the one of the hour.
	maxFirst = 10_000
)

// salt is the salt of a key at a time, or some lives later.
func (s *secrets) salt(key int64, now time.Time, later int64) int64 {
	return s.number("salt", key, now.Unix()/int64(saltLife/time.Second)+later)
}

// firstSalt is the salt that client and server compute when they have made a
// key. "Creating an Authorization Key", step 9. It is good for saltLife.
func firstSalt(newNonce [32]byte, server [16]byte) int64 {
	return int64(binary.LittleEndian.Uint64(newNonce[:]) ^ binary.LittleEndian.Uint64(server[:]))
}

// takesSalt reports whether a salt is good for the key of the connection.
func (c *conn) takesSalt(salt int64, now time.Time) bool {
	sec := c.s.kept
	if salt == sec.salt(c.authID, now, 0) || salt == sec.salt(c.authID, now, -1) {
		return true
	}
	first, ok := c.s.first.get(c.authID, now)
	return ok && salt == first
}
