package client

import (
	"io"

	"github.com/quinta-chat/quinta"
)

// A Draft is a message to be sent.
type Draft struct {
	// Kind is MessageText if empty.
	Kind quinta.MessageKind
	Text string
	// File, if not nil, is a file to be encrypted, uploaded and sent with
	// Text.
	File *Upload
	// Relation makes the message a reply, an edit, a reaction or a redaction.
	Relation quinta.Relation
	// Mentions are the users whose attention the message asks for.
	Mentions []quinta.UserID
	// Clear allows the message to leave in clear if the room is not
	// encrypted; without it, Send refuses such a room. In an encrypted room it
	// has no effect.
	Clear bool
	// Type and Body, if Type is not empty, are a message in the form of the
	// network, encrypted like any other.
	Type string
	Body []byte
}

// Text is the draft of a text message.
func Text(s string) Draft { return Draft{Kind: quinta.MessageText, Text: s} }

// Notice is the draft of a text message written by a program.
func Notice(s string) Draft { return Draft{Kind: quinta.MessageNotice, Text: s} }

// An Upload is a file to be sent.
type Upload struct {
	Name      string
	MediaType string
	// Size is the number of bytes, or -1 if it is not known beforehand.
	Size int64
	// From is read once, to its end.
	From io.Reader
}
