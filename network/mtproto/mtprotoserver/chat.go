package mtprotoserver

import (
	"errors"
	"io"
	"strings"
	"time"

	"github.com/quinta-chat/quinta/e2ee/secretchat"
	"github.com/quinta-chat/quinta/network/mtproto/wire"
	"github.com/quinta-chat/quinta/server"
	"github.com/quinta-chat/quinta/server/db"
	"github.com/quinta-chat/quinta/server/feed"
)

// The states of a chat. A request that was declined is closed.
const (
	stateRequested = "requested"
	stateOpen      = "open"
	stateClosed    = "closed"
	// stageRead is of an event only: the peer has read.
	stageRead = "read"
	// stageNotice is of an event that is about no chat: words for the user.
	stageNotice = "notice"
)

// A chat is one row.
type chat struct {
	ID, Admin, Participant int64
	AdminKey               int64
	OtherKey               *int64
	State                  string
	Created                int64
	GA, GB                 []byte
	Fingerprint            *int64
	Forget                 bool
}

const chatColumns = `id, admin, participant, admin_key, other_key, state, created, g_a, g_b, fingerprint, forget`

// chatByID returns a chat, or db.ErrNoRows.
func chatByID(tx *db.Tx, id int64) (*chat, error) {
	c := &chat{}
	return c, tx.Row(`SELECT `+chatColumns+` FROM mtproto_chat WHERE id = $1`, id).
		Scan(&c.ID, &c.Admin, &c.Participant, &c.AdminKey, &c.OtherKey, &c.State, &c.Created, &c.GA, &c.GB, &c.Fingerprint, &c.Forget)
}

// peer is the device at the far end of one of the two, or 0 if there is none.
func (ch *chat) peer(key int64) int64 {
	switch {
	case ch.OtherKey != nil && key == *ch.OtherKey:
		return ch.AdminKey
	case key == ch.AdminKey && ch.OtherKey != nil:
		return *ch.OtherKey
	}
	return 0
}

// chatAccess is the access hash with which a user names a chat.
func (s *secrets) chatAccess(chat, user int64) int64 { return s.number("chat", chat, user) }

// shown is a chat as one device may see it.
func (s *secrets) shown(ch *chat, user, key int64) any {
	id, date, access := int32(ch.ID), int32(ch.Created), s.chatAccess(ch.ID, user)
	creator := key == ch.AdminKey
	switch {
	case ch.State == stateRequested && creator:
		return &wire.EncryptedChatWaiting{ID: id, AccessHash: access, Date: date, AdminID: ch.Admin, ParticipantID: ch.Participant}
	case ch.State == stateRequested && user == ch.Participant:
		return &wire.EncryptedChatRequested{ID: id, AccessHash: access, Date: date, AdminID: ch.Admin, ParticipantID: ch.Participant, GA: ch.GA}
	case ch.State == stateOpen && (creator || ch.OtherKey != nil && key == *ch.OtherKey):
		g := ch.GA
		if creator {
			g = ch.GB
		}
		out := &wire.EncryptedChat{ID: id, AccessHash: access, Date: date, AdminID: ch.Admin, ParticipantID: ch.Participant, GAOrB: g}
		if ch.Fingerprint != nil {
			out.KeyFingerprint = *ch.Fingerprint
		}
		return out
	}
	return &wire.EncryptedChatDiscarded{ID: id, HistoryDeleted: ch.Forget}
}

// inputChat finds the chat that a call names, if it is one of this user's.
func (c *call) inputChat(in any) (*chat, error) {
	p, ok := in.(*wire.InputEncryptedChat)
	if !ok || p.AccessHash != c.sec.chatAccess(int64(p.ChatID), c.user) {
		return nil, refuse(400, "CHAT_ID_INVALID")
	}
	ch, err := chatByID(c.tx, int64(p.ChatID))
	if errors.Is(err, db.ErrNoRows) || err == nil && c.user != ch.Admin && c.user != ch.Participant {
		return nil, refuse(400, "CHAT_ID_INVALID")
	}
	return ch, err
}

// maxRandom bounds the randomness that a client may ask for, in bytes.
const maxRandom = 1024

// dhVersion is the version of the one group that this server has.
const dhVersion = 1

func getDHConfig(c *call, r *wire.GetDHConfig) (any, error) {
	if r.RandomLength < 0 || r.RandomLength > maxRandom {
		return nil, refuse(400, "RANDOM_LENGTH_INVALID")
	}
	random := make([]byte, r.RandomLength)
	if _, err := io.ReadFull(c.s.Rand, random); err != nil {
		return nil, err
	}
	if r.Version == dhVersion {
		return &wire.DHConfigNotModified{Random: random}, nil
	}
	return &wire.DHConfig{G: int32(c.s.group.G()), P: c.s.group.P(), Version: dhVersion, Random: random}, nil
}

// maxChats bounds the chats that one device has asked for and that are not closed.
const maxChats = 2000

// rateRequests bounds the requests of one user.
var rateRequests = server.Rate{Every: 10 * time.Second, Burst: 30}

// publicValue checks g_a or g_b and fills it up to 256 bytes.
func (c *call) publicValue(v []byte) ([]byte, error) {
	if c.s.group.Check(v) != nil {
		return nil, refuse(400, "DH_G_A_INVALID")
	}
	full := make([]byte, secretchat.Size)
	copy(full[len(full)-len(v):], v)
	return full, nil
}

func requestEncryption(c *call, r *wire.RequestEncryption) (any, error) {
	peer, err := c.named(r.UserID)
	if err != nil {
		return nil, err
	}
	if peer == c.user || r.RandomID == 0 {
		return nil, refuse(400, "USER_ID_INVALID")
	}
	ga, err := c.publicValue(r.GA)
	if err != nil {
		return nil, err
	}
	if wait := c.s.Limits.Allow("mtproto request", server.ByUser(name, secretchat.UserID(c.user)), rateRequests, 1); wait > 0 {
		return nil, flood(wait)
	}
	var open int
	if err := c.tx.Row(`SELECT COUNT(*) FROM mtproto_chat WHERE admin_key = $1 AND state <> $2`, c.keyID, stateClosed).Scan(&open); err != nil {
		return nil, err
	}
	if open >= maxChats {
		return nil, refuse(400, "CHATS_TOO_MUCH")
	}
	ch := &chat{ID: int64(r.RandomID), Admin: c.user, Participant: peer, AdminKey: c.keyID, State: stateRequested, Created: c.tx.Now().Unix(), GA: ga}
	n, err := c.tx.Exec(`INSERT INTO mtproto_chat (`+chatColumns+`) VALUES ($1, $2, $3, $4, NULL, $5, $6, $7, NULL, NULL, FALSE) ON CONFLICT (id) DO NOTHING`,
		ch.ID, ch.Admin, ch.Participant, ch.AdminKey, ch.State, ch.Created, ch.GA)
	if err != nil {
		return nil, err
	}
	if n == 0 {
		return c.requestedBefore(ch)
	}
	return c.sec.shown(ch, c.user, c.keyID), c.tellAll(ch, 0)
}

// requestedBefore answers a repetition like the first time; another chat of the
// same id is refused.
func (c *call) requestedBefore(ch *chat) (any, error) {
	old, err := chatByID(c.tx, ch.ID)
	if err != nil {
		return nil, err
	}
	if old.AdminKey != c.keyID || old.Participant != ch.Participant || string(old.GA) != string(ch.GA) {
		return nil, refuse(400, "RANDOM_ID_DUPLICATE")
	}
	return c.sec.shown(old, c.user, c.keyID), nil
}

// tellAll tells all devices of the callee but one.
func (c *call) tellAll(ch *chat, but int64) error {
	who, err := accountOf(c.tx, ch.Participant)
	if err != nil {
		return err
	}
	keys, err := devicesOf(c.tx, who)
	if err != nil {
		return err
	}
	for _, k := range keys {
		if k == but {
			continue
		}
		if err := tell(c.tx, k, ch.ID, ch.State, 0); err != nil {
			return err
		}
	}
	return nil
}

// acceptEncryption: one device wins. The others are told that the request is
// closed, and the device that asked gets g_b.
func acceptEncryption(c *call, r *wire.AcceptEncryption) (any, error) {
	ch, err := c.inputChat(r.Peer)
	if err != nil {
		return nil, err
	}
	gb, err := c.publicValue(r.GB)
	if err != nil {
		return nil, err
	}
	switch {
	case ch.Participant != c.user:
		return nil, refuse(400, "CHAT_ID_INVALID")
	case ch.State == stateOpen && *ch.OtherKey == c.keyID && string(ch.GB) == string(gb):
		return c.sec.shown(ch, c.user, c.keyID), nil // a repetition
	case ch.State == stateOpen:
		return nil, refuse(400, "ENCRYPTION_ALREADY_ACCEPTED")
	case ch.State == stateClosed:
		return nil, refuse(400, "ENCRYPTION_ALREADY_DECLINED")
	}
	ch.State, ch.OtherKey, ch.GB, ch.Fingerprint = stateOpen, &c.keyID, gb, &r.KeyFingerprint
	if err := c.tx.Queue(`UPDATE mtproto_chat SET state = $1, other_key = $2, g_b = $3, fingerprint = $4 WHERE id = $5`, ch.State, c.keyID, gb, r.KeyFingerprint, ch.ID); err != nil {
		return nil, err
	}
	if err := tell(c.tx, ch.AdminKey, ch.ID, stateOpen, 0); err != nil {
		return nil, err
	}
	closed := *ch
	closed.State = stateClosed
	return c.sec.shown(ch, c.user, c.keyID), c.tellAll(&closed, c.keyID)
}

// discardEncryption ends a chat or declines a request.
func discardEncryption(c *call, r *wire.DiscardEncryption) (any, error) {
	if r.ChatID == 0 {
		return nil, refuse(400, "CHAT_ID_EMPTY")
	}
	ch, err := chatByID(c.tx, int64(r.ChatID))
	if errors.Is(err, db.ErrNoRows) {
		return nil, refuse(400, "ENCRYPTION_ID_INVALID")
	} else if err != nil {
		return nil, err
	}
	mine := c.keyID == ch.AdminKey || ch.OtherKey != nil && c.keyID == *ch.OtherKey
	switch {
	case !mine && !(ch.State == stateRequested && c.user == ch.Participant):
		if c.user == ch.Participant && ch.State == stateOpen {
			return nil, refuse(400, "ENCRYPTION_ALREADY_ACCEPTED")
		}
		return nil, refuse(400, "ENCRYPTION_ID_INVALID")
	case ch.State == stateClosed:
		return nil, refuse(400, "ENCRYPTION_ALREADY_DECLINED")
	}
	return true, c.s.closeChat(c.tx, ch, c.keyID, r.DeleteHistory)
}

// closeChat closes a chat, which one of its devices asked for, and tells the
// others: the one at the far end, and all that were asked.
func (s *mtprotoServer) closeChat(tx *db.Tx, ch *chat, by int64, forget bool) error {
	if err := tx.Queue(`UPDATE mtproto_chat SET state = $1, forget = $2, closed = $3 WHERE id = $4`, stateClosed, forget, tx.Millis(), ch.ID); err != nil {
		return err
	}
	tellTo := []int64{ch.AdminKey}
	if ch.OtherKey != nil {
		tellTo = append(tellTo, *ch.OtherKey)
	} else {
		who, err := accountOf(tx, ch.Participant)
		if err != nil {
			return err
		}
		asked, err := devicesOf(tx, who)
		if err != nil {
			return err
		}
		tellTo = append(tellTo, asked...)
	}
	for _, key := range tellTo {
		if key == by {
			continue
		}
		if err := tell(tx, key, ch.ID, stateClosed, 0); err != nil {
			return err
		}
	}
	return nil
}

// requestsFor are the requests that a user has not answered, oldest first.
func requestsFor(tx *db.Tx, user int64) ([]int64, error) {
	return numbers(tx, `SELECT id FROM mtproto_chat WHERE participant = $1 AND state = $2 ORDER BY created, id`, user, stateRequested)
}

// declineAll closes the requests that a user has not answered.
func (s *mtprotoServer) declineAll(tx *db.Tx, user int64) error {
	open, err := requestsFor(tx, user)
	if err != nil {
		return err
	}
	for _, id := range open {
		ch, err := chatByID(tx, id)
		if err != nil {
			return err
		}
		if err := s.closeChat(tx, ch, 0, false); err != nil {
			return err
		}
	}
	return nil
}

// far is the device to which this one sends in a chat.
func (c *call) far(peer any) (*chat, int64, error) {
	ch, err := c.inputChat(peer)
	if err != nil {
		return nil, 0, err
	}
	to := ch.peer(c.keyID)
	switch {
	case ch.State == stateClosed:
		return nil, 0, refuse(400, "ENCRYPTION_DECLINED")
	case ch.State != stateOpen || to == 0:
		return nil, 0, refuse(400, "ENCRYPTION_ID_INVALID")
	}
	return ch, to, nil
}

func readEncryptedHistory(c *call, r *wire.ReadEncryptedHistory) (any, error) {
	ch, to, err := c.far(r.Peer)
	if err != nil {
		return nil, err
	}
	return true, tell(c.tx, to, ch.ID, stageRead, int64(r.MaxDate))
}

// maxTyping bounds the devices for which someone types.
const maxTyping = 10_000

// setEncryptedTyping reaches the peer if it is connected to this node, and is
// not kept.
func setEncryptedTyping(c *call, r *wire.SetEncryptedTyping) (any, error) {
	ch, to, err := c.far(r.Peer)
	if err != nil || !r.Typing {
		return err == nil, err
	}
	c.s.types(to, ch.ID)
	feed.Bump(c.tx, feedKey(to))
	return true, nil
}

// types notes that someone types to a device.
func (s *mtprotoServer) types(key, chat int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.typing) >= maxTyping {
		clear(s.typing)
	}
	s.typing[key] = chat
}

// typed returns the chat in which someone types to a device, if any, once.
func (s *mtprotoServer) typed(key int64) (chat int64, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	chat, ok = s.typing[key]
	delete(s.typing, key)
	return chat, ok
}

func toValid(s string) string { return strings.ToValidUTF8(s, "") }
