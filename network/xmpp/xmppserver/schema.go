package xmppserver

import (
	"embed"

	"github.com/quinta-chat/quinta/server/db"
)

//go:embed *.sql
var schemaFiles embed.FS

// schema is what this network alone keeps.
var schema = db.ReadSchema("xmpp", schemaFiles)
