package client

import (
	"context"
	"io"
	"time"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/client/timeline"
	"github.com/quinta-chat/quinta/e2ee"
)

// A Network is one network's client half.
type Network interface {
	// Name is the network's name, as it stands in the list of networks.
	Name() quinta.NetworkName
	// Login logs a new device in and keeps in the empty store what Open
	// needs. It returns an error of KindUnauthenticated if the server refuses
	// the credentials.
	Login(ctx context.Context, st Store, env e2ee.Env, in Credentials) (quinta.Device, error)
	// Open resumes the session that the store holds. It does not speak to the
	// server.
	Open(ctx context.Context, st Store, env e2ee.Env) (Session, error)
}

// Credentials are what a person logs in with.
type Credentials struct {
	// Server is the address of the server, such as "https://example.org".
	Server string
	// User is a local part or a whole user name.
	User string
	// Password is the secret; it goes to the server and is not kept.
	Password Secret
	// DeviceName is what the person calls this device.
	DeviceName string
	// Token is the invitation that a registration may need.
	Token Secret
}

// A Registrar is a Network on which accounts can be made.
type Registrar interface {
	Network
	// Register makes an account and logs in, as Login does.
	Register(ctx context.Context, st Store, env e2ee.Env, in Credentials) (quinta.Device, error)
}

// A Session is one logged-in device. It stays as small as it is: what not
// every network can do is an interface of its own that a Session may also
// have, and [As] asks for it.
type Session interface {
	// Self is the device.
	Self() quinta.Device
	// Run sends and receives until ctx ends, and calls on with each event
	// after it is durable. It returns nil when ctx ended, and an error of
	// KindUnauthenticated when the device was signed out.
	Run(ctx context.Context, on func(e2ee.Event)) error
	// Send puts a message into the outbox and returns its id. When it
	// returns, the message survives a crash; Run or Flush carries it out.
	// What became of it comes as EventSent or EventFailed with the id.
	Send(ctx context.Context, room quinta.RoomID, d Draft) (quinta.TxnID, error)
	// Flush catches up with the server and carries the outbox out, and
	// returns when it is empty. It must not run together with Run.
	Flush(ctx context.Context, on func(e2ee.Event)) error
	// Close ends the session on this device and closes its store; the device
	// stays logged in.
	Close() error
}

// A Draft is a message to be sent.
type Draft struct {
	// Kind is MessageText if empty.
	Kind quinta.MessageKind
	Text string
	// File, if not nil, is a file to be sealed, uploaded and sent with Text.
	File *Upload
	// Relation makes the message a reply, an edit, a reaction or a redaction.
	Relation quinta.Relation
	// Mentions are the users whose attention the message asks for.
	Mentions []quinta.UserID
	// Clear allows the message to leave in clear if the room is not
	// encrypted; without it such a room is refused. In an encrypted room it
	// changes nothing.
	Clear bool
	// Type and Body, if Type is not empty, are a message in the form of the
	// network, sealed like any other.
	Type string
	Body []byte
}

// Text is the draft of a text.
func Text(s string) Draft { return Draft{Kind: quinta.MessageText, Text: s} }

// Notice is the draft of a text written by a program.
func Notice(s string) Draft { return Draft{Kind: quinta.MessageNotice, Text: s} }

// An Upload is a file on its way out.
type Upload struct {
	Name      string
	MediaType string
	// Size is the number of bytes, or -1 if it is not known beforehand.
	Size int64
	// From is read once, to its end.
	From io.Reader
}

// As returns the ability T of a session, and whether it has it.
func As[T any](s Session) (T, bool) {
	t, ok := s.(T)
	return t, ok
}

// A Talker is a Session with rooms.
type Talker interface {
	Session
	// Rooms lists the rooms of the account, those to which it is invited
	// included.
	Rooms(ctx context.Context) ([]RoomInfo, error)
	// Create makes a room, encrypted unless clear is true.
	Create(ctx context.Context, in NewRoom) (quinta.RoomID, error)
	Invite(ctx context.Context, room quinta.RoomID, user quinta.UserID) error
	// Join joins a room by its id or one of its names.
	Join(ctx context.Context, room string) (quinta.RoomID, error)
	Leave(ctx context.Context, room quinta.RoomID) error
	// Members asks the server who is in a room, invited to it or was in it.
	Members(ctx context.Context, room quinta.RoomID) ([]Member, error)
}

// A Member is one user's part in a room.
type Member struct {
	User quinta.UserID
	// Name is what the user calls himself there. It is not authenticated.
	Name string
	// Membership is "join", "invite", "leave", "ban" or "knock".
	Membership string
}

// A NewRoom says what room to make.
type NewRoom struct {
	Name   string
	Topic  string
	Invite []quinta.UserID
	// Direct says that it is a conversation of two people.
	Direct bool
	// Clear makes a room without encryption.
	Clear bool
}

// A RoomInfo is a room as its list shows it.
type RoomInfo struct {
	quinta.Room
	// Membership is this account's own: "join", "invite", "leave".
	Membership string
	Topic      string
	// Inviter is who invited this account, if it is invited.
	Inviter quinta.UserID
	// Direct says that it is a conversation of two people.
	Direct bool
}

// A Reader is a Session that keeps a timeline on the device.
type Reader interface {
	Session
	// Read returns a stretch of a room from the device.
	Read(ctx context.Context, room quinta.RoomID, q timeline.Query) ([]timeline.Item, error)
	// History asks the server for older messages of a room, up to limit, and
	// keeps them. It reports whether there is more.
	History(ctx context.Context, room quinta.RoomID, limit int) (more bool, err error)
	// MarkRead says that this account has read up to a message. In a room
	// that it is not in any more it does nothing: there is nobody to tell.
	MarkRead(ctx context.Context, room quinta.RoomID, id quinta.MessageID) error
}

// A Fetcher is a Session that can fetch files.
type Fetcher interface {
	Session
	// Fetch writes the opened file to w, streamed. An error means that what
	// was written must not be used: the whole is authentic only when Fetch
	// returns nil.
	Fetch(ctx context.Context, f *quinta.File, w io.Writer) error
}

// A Keeper is a Session on which devices can be looked at and judged.
type Keeper interface {
	Session
	// Devices lists the devices of a user; of the own account if user is
	// empty.
	Devices(ctx context.Context, user quinta.UserID) ([]DeviceInfo, error)
	// Rename names one of the own devices.
	Rename(ctx context.Context, id quinta.DeviceID, name string) error
	// SignOut ends one of the own devices. The password may be needed.
	SignOut(ctx context.Context, id quinta.DeviceID, password Secret) error
	// Judge accepts or rejects a device that the user compared by hand:
	// TrustVerified or TrustRejected; TrustUnknown takes a judgement back.
	Judge(ctx context.Context, user quinta.UserID, id quinta.DeviceID, t quinta.Trust) error
	// Acknowledge takes a user's changed identity as the one that counts from
	// now on, without saying that it was compared. Until then nothing is sent
	// to the user if the old identity was verified.
	Acknowledge(ctx context.Context, user quinta.UserID) error
}

// A Restorer is a Session that can be told that its store is an old copy.
type Restorer interface {
	Session
	// Restored says that the store was put back to an old copy, or is a copy of
	// that of a device that is in use. Nothing that may have been used since
	// seals again. It is called before anything is sent.
	Restored(ctx context.Context) error
}

// A DeviceInfo is a device and how far it is known.
type DeviceInfo struct {
	quinta.Device
	Trust quinta.Trust
	// Fingerprint is what two people compare, in groups for reading aloud.
	Fingerprint string
	// Own says that it belongs to this account, Self that it is this device.
	Own, Self bool
	// Seen is when the server saw it last, if it tells.
	Seen time.Time
}

// A Verifier is a Session that can verify other devices interactively.
type Verifier interface {
	Session
	// Verify asks a user, or one device of the own account, to compare short
	// strings. compare is shown the strings and answers whether they are
	// equal; Run must be running.
	Verify(ctx context.Context, user quinta.UserID, id quinta.DeviceID, compare func(ctx context.Context, s ShortStrings) (bool, error)) error
	// AwaitVerify waits for a request and carries it out, if accept says so.
	AwaitVerify(ctx context.Context, accept func(from quinta.Device) bool, compare func(ctx context.Context, s ShortStrings) (bool, error)) error
}

// ShortStrings are what two people compare.
type ShortStrings struct {
	With quinta.Device
	// Emoji are pictures with their names, Decimal three numbers, Words
	// safety words; a network gives at least one of them.
	Emoji   []Emoji
	Decimal []int
	Words   []string
}

// An Emoji is a picture with its name.
type Emoji struct{ Symbol, Name string }

// A KeyPorter is a Session whose keys can be taken to another device in a
// file.
type KeyPorter interface {
	Session
	// ExportKeys writes the keys of all rooms, sealed under the passphrase.
	ExportKeys(ctx context.Context, w io.Writer, passphrase Secret) (int, error)
	// ImportKeys reads such a file; progress, if not nil, is called now and
	// then. What could not be read before and can be now comes as events.
	ImportKeys(ctx context.Context, r io.Reader, passphrase Secret, progress func(done, all int)) (int, error)
}

// A Backer is a Session whose keys can be kept on the server, sealed under a
// recovery key that only the user has.
type Backer interface {
	Session
	// Backup says whether there is a backup and whether this device uses it.
	Backup(ctx context.Context) (BackupInfo, error)
	// CreateBackup makes a backup and puts all keys into it, now and from now
	// on. It returns the recovery key, which is shown to the user once.
	CreateBackup(ctx context.Context) (recovery Secret, err error)
	// UnlockBackup takes in what a backup holds and uses it from now on;
	// progress, if not nil, is called now and then. It returns how many keys
	// were new. A wrong recovery key is an error of KindUnauthenticated.
	UnlockBackup(ctx context.Context, recovery Secret, progress func(done, all int)) (int, error)
}

// A BackupInfo is the state of the key backup.
type BackupInfo struct {
	// Exists says that the server has a backup, Unlocked that this device has
	// its key, and Keys how many keys are in it.
	Exists, Unlocked bool
	Keys             int
}

// A Doctor is a Session that can say what is wrong with itself.
type Doctor interface {
	Session
	Examine(ctx context.Context) ([]Finding, error)
}

// A Finding is one thing that a Doctor looked at.
type Finding struct {
	// Name is a stable word for what was looked at, such as "clock".
	Name string
	OK   bool
	// Text says what was found, Remedy what to do if it is not well.
	Text, Remedy string
}

// Leaver is a Session that can end its device on the server.
type Leaver interface {
	Session
	// Logout signs this device out; the store is of no use afterwards.
	Logout(ctx context.Context) error
}

// Certified is a Session whose device has keys that an authority vouches for,
// each until a certain time.
type Certified interface {
	Session
	// Keys asks the authority for the keys of all devices of the account,
	// oldest first, those that are over included.
	Keys(ctx context.Context) ([]KeyInfo, error)
	// Renew puts new keys in the place of this device's valid ones and returns
	// them once the authority has vouched for them. A renewal that was begun
	// before is carried on with the same keys. A key that is not valid any
	// more is not renewed: an error of KindForbidden says what to do.
	Renew(ctx context.Context) ([]KeyInfo, error)
	// Revoke ends a key of any device of the account for good. id is its
	// fingerprint; reason is one of RevokeReasons, RevokeUnspecified if empty.
	// A key of this device is not replaced by that.
	Revoke(ctx context.Context, id, reason string) error
}

// A KeyInfo is what an authority says of one key.
type KeyInfo struct {
	// ID is the fingerprint of the key: the SHA-256 of its public half in
	// lower-case hex.
	ID     string
	Device quinta.DeviceID
	// Use is "sign", "encrypt" or "both".
	Use string
	// Profile is the network's word for the kind of key.
	Profile string
	// State is "pending", "active", "grace", "retired", "expired" or "revoked".
	State              string
	NotBefore, Expires time.Time
	// Changed is since when the key is in its state.
	Changed time.Time
	// Reason is why it was revoked.
	Reason string
	// Self says that it is of this device.
	Self bool
}

// The reasons for which a key is revoked. RevokeCompromised counts also for
// what was sealed or signed with the key before.
const (
	RevokeUnspecified = "unspecified"
	RevokeCompromised = "key-compromise"
	RevokeSuperseded  = "superseded"
	RevokeCessation   = "cessation"
)

// RevokeReasons are all reasons.
var RevokeReasons = []string{RevokeUnspecified, RevokeCompromised, RevokeSuperseded, RevokeCessation}

// Profiled is a Session on a network whose conversations can have another
// profile than the default one.
type Profiled interface {
	Session
	// Legacy chooses the legacy profile for a conversation with a user, apart
	// from the default one with him, and returns it. It is weak, what comes in
	// it is marked so, and nothing is sent before the user has chosen it too.
	Legacy(ctx context.Context, user quinta.UserID) (quinta.RoomID, error)
	// Small switches session mode on or off for what this device sends in a
	// conversation of two: small packets under a key that one message carries.
	Small(ctx context.Context, room quinta.RoomID, on bool) error
}

// An Approver is a Session whose device can help another one of the account
// that lost its keys, or has none of its own yet.
type Approver interface {
	Session
	// Approve lets another device enrol the keys named by their ids, as it
	// shows them, when its old ones are over.
	Approve(ctx context.Context, id quinta.DeviceID, keys ...string) error
	// Give sends the keys that open what nobody has read yet to another device
	// of the account, which the user has verified.
	Give(ctx context.Context, id quinta.DeviceID) error
	// Retry asks again for what was refused for want of an approval.
	Retry(ctx context.Context) error
}

// An Asker is a Session that can tell senders that no device of this account
// could read what they wrote.
type Asker interface {
	Session
	// AskAgain tells the senders of all messages that cannot be opened here,
	// whose devices may then seal them again by themselves. It returns how many
	// messages that are.
	AskAgain(ctx context.Context) (int, error)
}
