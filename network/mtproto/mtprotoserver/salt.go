package mtprotoserver

import (
	"encoding/binary"
	"sync"
	"time"
)

// saltLife is how long a salt is new; it is good for twice as long.
const saltLife = time.Hour

// salt is the salt of a key at a time, or some lives later.
func (s *secrets) salt(key int64, now time.Time, later int64) int64 {
	return s.number("salt", key, now.Unix()/int64(saltLife/time.Second)+later)
}

// maxFirst bounds the first salts that are kept; the oldest makes way. A client
// whose salt is not known any more is told the one of the hour.
const maxFirst = 10_000

// firstSalts are the salts that clients compute themselves when they have made
// a key. "Creating an Authorization Key", step 9. They are good for saltLife.
type firstSalts struct {
	mu    sync.Mutex
	of    map[int64]firstSalt
	order []int64
}

type firstSalt struct {
	salt  int64
	until time.Time
}

// put keeps the salt of a key that was just made.
func (f *firstSalts) put(key int64, newNonce [32]byte, server [16]byte, now time.Time) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.of == nil {
		f.of = map[int64]firstSalt{}
	}
	for len(f.order) > 0 && (len(f.order) >= maxFirst || !now.Before(f.of[f.order[0]].until)) {
		delete(f.of, f.order[0])
		f.order = f.order[1:]
	}
	f.of[key] = firstSalt{int64(binary.LittleEndian.Uint64(newNonce[:]) ^ binary.LittleEndian.Uint64(server[:])), now.Add(saltLife)}
	f.order = append(f.order, key)
}

func (f *firstSalts) holds(key, salt int64, now time.Time) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	s, ok := f.of[key]
	return ok && s.salt == salt && now.Before(s.until)
}

// takesSalt reports whether a salt is good for the key of the connection.
func (c *conn) takesSalt(salt int64, now time.Time) bool {
	sec := c.s.kept
	return salt == sec.salt(c.authID, now, 0) || salt == sec.salt(c.authID, now, -1) || c.s.first.holds(c.authID, salt, now)
}
