// Package quota records how many bytes the store keeps for each account, by
// class, and says when there are too many.
//
// [Add] changes a sum in the transaction that stores or frees the bytes, so
// that no node loses what another has counted, and asks for the new sum;
// [Sum.Check] compares it with [Limits]. [Of] and [List] read the sums.
//
// The set does not know what takes up space: the other sets report that with
// [db.Tx.Count], and package server adds it up when their transaction ends.
package quota

import (
	"embed"
	"errors"
	"fmt"
	"maps"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/server/db"
)

//go:embed *.sql
var tables embed.FS

// Schema is what this set keeps.
var Schema = db.ReadSchema("quota", tables)

// An Owner identifies the user whose bytes are counted: the name of an
// account, or the [db.User] of a user who has no account here. The first
// holds no space, the second does.
type Owner string

// Limits are how many bytes one owner may keep, by their class. A class that is
// missing or zero has no limit.
type Limits map[db.Class]int64

// Defaults returns the limits of a server on which nothing else was set.
func Defaults() Limits {
	return Limits{
		db.ClassMedia:    2 << 30,
		db.ClassBackup:   256 << 20,
		db.ClassData:     256 << 20,
		db.ClassQueue:    256 << 20,
		db.ClassMessages: 4 << 30,
	}
}

// Used are the bytes of one owner, by their class; zeros are left out.
type Used map[db.Class]int64

// A Sum is what an owner keeps after an Add, as the store answers.
type Sum struct {
	Owner Owner
	Class db.Class
	asked *db.Answer
}

// Add changes what is kept for an owner by n bytes and asks for the sum. It
// never becomes less than zero.
func Add(tx *db.Tx, owner Owner, class db.Class, n int64) (Sum, error) {
	a, err := tx.Ask(`INSERT INTO quota_used (owner, class, bytes) VALUES ($1, $2, CASE WHEN CAST($3 AS BIGINT) > 0 THEN CAST($3 AS BIGINT) ELSE 0 END)
		ON CONFLICT (owner, class) DO UPDATE SET bytes = CASE WHEN quota_used.bytes + CAST($3 AS BIGINT) > 0 THEN quota_used.bytes + CAST($3 AS BIGINT) ELSE 0 END RETURNING bytes`,
		owner, class, n)
	return Sum{owner, class, a}, err
}

// Bytes returns the sum. In the transaction it waits for the answer of the
// store; after the commit it does not.
func (s Sum) Bytes() (int64, error) {
	for row, err := range s.asked.Rows() {
		if err != nil {
			return 0, err
		}
		var n int64
		err := row.Scan(&n)
		return n, err
	}
	return 0, errors.New("quota: internal error: a sum without a row")
}

// Check returns an error if the sum is over its limit: KindQuota, or
// KindLimited for messages that wait to be read, since waiting helps.
func (s Sum) Check(l Limits) error {
	most := l[s.Class]
	if most <= 0 {
		return nil
	}
	n, err := s.Bytes()
	if err != nil || n <= most {
		return err
	}
	return Exceeded(s.Class, most)
}

// Exceeded is the error for an owner who would keep more bytes of a class than
// allowed.
func Exceeded(class db.Class, most int64) error {
	if class == db.ClassQueue {
		return quinta.E(quinta.KindLimited, "quota", "too many messages from the account are waiting to be received")
	}
	return quinta.E(quinta.KindQuota, "quota", fmt.Sprintf("the account's quota of %s for %s is used up: remove something first", size(most), class))
}

// size writes a number of bytes for people.
func size(n int64) string {
	switch {
	case n >= 1<<30 && n%(1<<30) == 0:
		return fmt.Sprintf("%d GiB", n>>30)
	case n >= 1<<20 && n%(1<<20) == 0:
		return fmt.Sprintf("%d MiB", n>>20)
	}
	return fmt.Sprintf("%d bytes", n)
}

// Of returns what is kept for an owner.
func Of(tx *db.Tx, owner Owner) (Used, error) {
	all, err := read(tx, `SELECT owner, class, bytes FROM quota_used WHERE owner = $1`, owner)
	return all[owner], err
}

// List returns what is kept for the owners given. One who keeps nothing may be
// missing.
func List(tx *db.Tx, owners []Owner) (map[Owner]Used, error) {
	out := map[Owner]Used{}
	for part := range db.Pieces(owners) {
		args := make([]any, len(part))
		for i, o := range part {
			args[i] = string(o)
		}
		found, err := read(tx, `SELECT owner, class, bytes FROM quota_used WHERE owner IN (`+db.Tuples(1, len(part), 1)+`)`, args...)
		if err != nil {
			return nil, err
		}
		maps.Copy(out, found)
	}
	return out, nil
}

// All returns what is kept for every owner.
func All(tx *db.Tx) (map[Owner]Used, error) {
	return read(tx, `SELECT owner, class, bytes FROM quota_used`)
}

func read(tx *db.Tx, sql string, args ...any) (map[Owner]Used, error) {
	out := map[Owner]Used{}
	for row, err := range tx.Query(sql, args...) {
		if err != nil {
			return nil, err
		}
		var o Owner
		var class db.Class
		var n int64
		if err := row.Scan(&o, &class, &n); err != nil {
			return nil, err
		}
		if n == 0 {
			continue
		}
		if out[o] == nil {
			out[o] = Used{}
		}
		out[o][class] = n
	}
	return out, nil
}

// Differ returns how many sums of a and b are not the same.
func Differ(a, b map[Owner]Used) int {
	n := 0
	for _, class := range db.Classes() {
		for o := range a {
			if a[o][class] != b[o][class] {
				n++
			}
		}
		for o := range b {
			if _, both := a[o]; !both && b[o][class] != 0 {
				n++
			}
		}
	}
	return n
}

// Clear forgets all sums, before they are counted again.
func Clear(tx *db.Tx) error { return tx.Queue(`DELETE FROM quota_used`) }
