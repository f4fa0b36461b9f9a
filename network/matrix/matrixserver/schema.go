package matrixserver

import (
	_ "embed"

	"github.com/quinta-chat/quinta/server/db"
)

//go:embed schema.sql
var schemaText string

// schema is what only this network keeps.
var schema = db.Schema{Set: "matrix", Base: schemaText}
