package mtprotoserver

import (
	"embed"

	"github.com/quinta-chat/quinta/server/db"
)

//go:embed *.sql
var tables embed.FS

// schema is what this network alone keeps.
var schema = db.ReadSchema("mtproto", tables)
