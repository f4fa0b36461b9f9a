// Package vault keeps what users store for themselves: data under a name, for
// one room or for the whole account, and backups of sealed keys.
//
// [PutData] and [GetData] write and read one value, [DataSince] lists what
// changed after a position. What is secret in the vault was sealed by the
// user's own device; the server cannot open it and does not look inside.
package vault

import (
	"embed"

	"github.com/quinta-chat/quinta/server/db"
)

//go:embed *.sql
var tables embed.FS

// Schema is what this set keeps.
var Schema = db.ReadSchema("vault", tables)
