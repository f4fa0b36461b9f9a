package mtprotoserver

import (
	_ "embed"

	"github.com/quinta-chat/quinta/server/db"
)

//go:embed schema.sql
var schemaText string

// schema is what this network alone keeps.
var schema = db.Schema{Set: "mtproto", Base: schemaText}
