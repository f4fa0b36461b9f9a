// Package wire defines the wire format of the toy network: one JSON object per
// line, over one TCP connection. The client numbers its calls, and the server
// answers each under its number, in any order.
package wire

import (
	"bufio"
	"io"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/network/internal/sixth/e2ee/sixth"
)

// MaxLine bounds a line, in bytes.
const MaxLine = 256 << 10

// MaxBox bounds the box of a post, in bytes, and MaxPage the mails of an answer:
// so many fit into a line.
const (
	MaxBox  = 8 << 10
	MaxPage = 16
)

// A Call is one line of the client. Exactly one of the pointers is set.
type Call struct {
	N     uint64      `json:"n"`
	Login *Login      `json:"login,omitempty"`
	Hello *Hello      `json:"hello,omitempty"`
	Post  *sixth.Post `json:"post,omitempty"`
	Fetch *Fetch      `json:"fetch,omitempty"`
}

// A Login makes a device. Without a code it is refused with [CodeWanted].
type Login struct {
	User   string          `json:"user"`
	Code   string          `json:"code,omitempty"`
	Device quinta.DeviceID `json:"device"`
	Name   string          `json:"name"`
}

// A Hello says which device this is, before anything else but a Login.
type Hello struct {
	Token string `json:"token"`
}

// A Fetch asks for mail after a position, up to which the device has stored
// all. With Wait the answer comes when there is some, or after a while.
type Fetch struct {
	Since quinta.Pos `json:"since"`
	Wait  bool       `json:"wait"`
}

// An Answer is one line of the server.
type Answer struct {
	N    uint64 `json:"n"`
	Code Code   `json:"code,omitempty"` // empty: done
	// User and Token answer a Login.
	User    quinta.UserID  `json:"user,omitempty"`
	Token   string         `json:"token,omitempty"`
	Receipt *sixth.Receipt `json:"receipt,omitempty"`
	Mail    []sixth.Mail   `json:"mail,omitempty"`
}

// A Code says why a call was refused.
type Code string

// The codes.
const (
	CodeWanted      Code = "code-wanted"     // a login needs a code of the operator
	Unauthenticated Code = "unauthenticated" // the code or the token is wrong
	Later           Code = "later"           // too many calls, or the server is in trouble
	Malformed       Code = "malformed"
)

// Lines returns a scanner over the lines of r.
func Lines(r io.Reader) *bufio.Scanner {
	s := bufio.NewScanner(r)
	s.Buffer(nil, MaxLine)
	return s
}
