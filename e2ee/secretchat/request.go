package secretchat

import "strconv"

// A ChatID names a chat. Its creator draws it; it is the same for both people.
type ChatID int32

// String returns the id in decimal without a sign, which is also the id of the
// room.
func (c ChatID) String() string { return strconv.FormatUint(uint64(uint32(c)), 10) }

// A Person is a user as the server describes them to this device. Only ID
// identifies the user; nothing of it is authenticated.
type Person struct {
	ID int64 `json:"id"`
	// Access is what the server asks back where the user is named.
	Access   int64  `json:"access,omitempty"`
	Name     string `json:"name,omitempty"`
	Username string `json:"username,omitempty"`
	Phone    string `json:"phone,omitempty"`
}

// A Stage is the server's claim about how far a chat is.
type Stage int

// The stages of a chat.
const (
	// StageRequested: the peer asks for the chat.
	StageRequested Stage = iota + 1
	// StageOpen: the peer accepted it.
	StageOpen
	// StageClosed: someone ended it, or another device took it.
	StageClosed
)

// A Chat is what the server says of a chat.
type Chat struct {
	ID    ChatID
	Stage Stage
	// Access is what the server asks back where the chat is named.
	Access int64
	// Date is when the chat was requested, in Unix seconds.
	Date int64
	// Admin asked for the chat and Participant is the other user.
	Admin, Participant int64
	// Public is g_a of a StageRequested and g_b of a StageOpen chat.
	Public []byte
	// Fingerprint is that of the key, of a StageOpen chat.
	Fingerprint int64
}

// A Location is a file on the server.
type Location struct {
	ID     int64 `json:"id"`
	Access int64 `json:"access"`
	// Size is the length of the sealed file in bytes.
	Size        int64 `json:"size"`
	DC          int   `json:"dc"`
	Fingerprint int32 `json:"fingerprint"`
}

// A Packet is one sealed message as the server delivers it.
type Packet struct {
	Chat ChatID
	// RandomID is the id outside of the seal, which a server can forge.
	RandomID int64
	// Date is when the server took the packet in, in Unix seconds.
	Date int64
	Data []byte
	// File is the file that came with it, if any.
	File *Location
}

// A Read says that the peer has read what was sent up to a date.
type Read struct {
	Chat ChatID
	// MaxDate is in Unix seconds.
	MaxDate int64
}

// An Update is one thing that came; one of its fields is set.
type Update struct {
	Chat   *Chat
	Packet *Packet
	Read   *Read
}

// An In is what came from the server at once: the people that it names, the
// updates in their order, and the positions behind them.
type In struct {
	People  []Person
	Updates []Update
	// Qts and Pts are the positions of this device's queue of messages and of
	// its other updates, behind the updates; 0 leaves them as they are.
	Qts, Pts int
}

// A Method is one of the calls of a server.
type Method string

// The calls.
const (
	MethodDHConfig Method = "messages.getDhConfig"
	MethodRequest  Method = "messages.requestEncryption"
	MethodAccept   Method = "messages.acceptEncryption"
	MethodDiscard  Method = "messages.discardEncryption"
	MethodSend     Method = "messages.sendEncrypted"
	MethodService  Method = "messages.sendEncryptedService"
	MethodFile     Method = "messages.sendEncryptedFile"
	MethodRead     Method = "messages.readEncryptedHistory"
)

// A Req is a call that is due. Its bytes are those of the first time, however
// often it is repeated.
type Req struct {
	// Name is the request's own, for Done.
	Name   string `json:"-"`
	Method Method `json:"method"`
	Chat   ChatID `json:"chat"`
	Access int64  `json:"access,omitempty"`
	// User is whom MethodRequest asks.
	User *Person `json:"user,omitempty"`
	// Public and Fingerprint are those of the key agreement.
	Public      []byte `json:"public,omitempty"`
	Fingerprint int64  `json:"fingerprint,omitempty"`
	// Version is that of the parameters that this device has, for
	// MethodDHConfig.
	Version int `json:"version,omitempty"`
	// RandomID, Data and Silent are those of a packet.
	RandomID int64  `json:"random_id,omitempty"`
	Data     []byte `json:"data,omitempty"`
	Silent   bool   `json:"silent,omitempty"`
	// Upload or File is the file of MethodFile: just uploaded, or there.
	Upload *Upload   `json:"upload,omitempty"`
	File   *Location `json:"file,omitempty"`
	// MaxDate is that of MethodRead, in Unix seconds.
	MaxDate int64 `json:"max_date,omitempty"`
	// Delete asks the peer to delete the history, for MethodDiscard.
	Delete bool `json:"delete,omitempty"`

	// Out is the number of the message that Data seals, Local whether the user
	// is told what became of it.
	Out   int  `json:"out,omitempty"`
	Local bool `json:"local,omitempty"`
	// Again says that the packet was requested again.
	Again bool `json:"again,omitempty"`
}

// Lane implements client.Laned: what belongs to one chat leaves in its order.
func (r Req) Lane() string { return "chat/" + r.Chat.String() }

// An Upload is a file whose sealed parts the server has.
type Upload struct {
	ID    int64 `json:"id"`
	Parts int   `json:"parts"`
	// Big says that the parts were stored as those of a big file.
	Big         bool  `json:"big,omitempty"`
	Fingerprint int32 `json:"fingerprint"`
}

// An Ans is the answer to a Req. A refusal has the server's Code, such as
// "ENCRYPTION_DECLINED".
type Ans struct {
	Code string
	// G, P, Version and Random are those of MethodDHConfig; without P the
	// parameters that this device has are current.
	G       int
	P       []byte
	Version int
	Random  []byte
	// Chat is the answer to MethodRequest and MethodAccept.
	Chat *Chat
	// Date is when a packet was taken in, in Unix seconds.
	Date int64
	// File is where the file of MethodFile is.
	File *Location
}
