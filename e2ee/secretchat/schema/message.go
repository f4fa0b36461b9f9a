package schema

import "github.com/quinta-chat/quinta/internal/tl"

// A Message is what a packet of a secret chat holds inside its layer.
type Message interface{ message() }

// The constructors of Message.
type (
	DecryptedMessage struct {
		_               struct{} `tl:"91cc4674"`
		Flags           tl.Flags
		Silent          bool `tl:"?5"`
		RandomID        int64
		TTL             int
		Message         string
		Media           Media    `tl:"?9"`
		Entities        []Entity `tl:"?7"`
		ViaBotName      string   `tl:"?11"`
		ReplyToRandomID int64    `tl:"?3"`
		GroupedID       int64    `tl:"?17"`
	}
	DecryptedMessage23 struct {
		_        struct{} `tl:"204d3878"`
		RandomID int64
		TTL      int
		Message  string
		Media    Media
	}
	DecryptedMessage46 struct {
		_               struct{} `tl:"36b091de"`
		Flags           tl.Flags
		RandomID        int64
		TTL             int
		Message         string
		Media           Media    `tl:"?9"`
		Entities        []Entity `tl:"?7"`
		ViaBotName      string   `tl:"?11"`
		ReplyToRandomID int64    `tl:"?3"`
	}
	DecryptedMessage8 struct {
		_           struct{} `tl:"1f814f1f"`
		RandomID    int64
		RandomBytes []byte
		Message     string
		Media       Media
	}
	DecryptedMessageService struct {
		_        struct{} `tl:"73164160"`
		RandomID int64
		Action   Action
	}
	DecryptedMessageService8 struct {
		_           struct{} `tl:"aa48327d"`
		RandomID    int64
		RandomBytes []byte
		Action      Action
	}
)

func (*DecryptedMessage) message()         {}
func (*DecryptedMessage23) message()       {}
func (*DecryptedMessage46) message()       {}
func (*DecryptedMessage8) message()        {}
func (*DecryptedMessageService) message()  {}
func (*DecryptedMessageService8) message() {}
