package room

import (
	"errors"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/server/db"
)

// An Alias is a name by which people find a room.
type Alias struct {
	Alias   string
	Room    quinta.RoomID
	Creator quinta.UserID
}

// MaxAliases bounds the aliases that one user has made.
const MaxAliases = 500

// PutAlias keeps a new alias. An alias that exists is an error of KindExists, one
// beyond MaxAliases of KindLimited.
func PutAlias(tx *db.Tx, a Alias) error {
	var made int
	if err := tx.Row(`SELECT COUNT(*) FROM room_alias WHERE creator = $1`, a.Creator).Scan(&made); err != nil {
		return err
	}
	if made >= MaxAliases {
		return quinta.E(quinta.KindLimited, "room", "the user has made too many aliases")
	}
	n, err := tx.Exec(`INSERT INTO room_alias (alias, room, creator, created) VALUES ($1, $2, $3, $4) ON CONFLICT (alias) DO NOTHING`,
		a.Alias, a.Room, a.Creator, tx.Millis())
	if err == nil && n == 0 {
		err = quinta.E(quinta.KindExists, "room", "the alias is taken")
	}
	return err
}

// AliasOf returns an alias, or an error of KindNotFound.
func AliasOf(tx *db.Tx, alias string) (Alias, error) {
	a := Alias{Alias: alias}
	err := tx.Row(`SELECT room, creator FROM room_alias WHERE alias = $1`, alias).Scan(&a.Room, &a.Creator)
	if errors.Is(err, db.ErrNoRows) {
		err = quinta.E(quinta.KindNotFound, "room", "there is no such alias")
	}
	return a, err
}

// Aliases returns the aliases of a room in their alphabetical order.
func Aliases(tx *db.Tx, room quinta.RoomID) ([]Alias, error) {
	var out []Alias
	for row, err := range tx.Query(`SELECT alias, room, creator FROM room_alias WHERE room = $1 ORDER BY alias`, room) {
		if err != nil {
			return nil, err
		}
		var a Alias
		if err := row.Scan(&a.Alias, &a.Room, &a.Creator); err != nil {
			return nil, err
		}
		out = append(out, a)
	}
	return out, nil
}

// DeleteAlias removes an alias.
func DeleteAlias(tx *db.Tx, alias string) error {
	return tx.Queue(`DELETE FROM room_alias WHERE alias = $1`, alias)
}

// MoveAliases gives the aliases of one room to another.
func MoveAliases(tx *db.Tx, from, to quinta.RoomID) error {
	return tx.Queue(`UPDATE room_alias SET room = $1 WHERE room = $2`, to, from)
}
