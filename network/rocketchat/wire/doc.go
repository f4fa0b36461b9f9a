// Package wire defines the wire format of the Rocket.Chat network: the paths
// and answers of REST, the frames of DDP, the records that both carry, and the
// codes of refusals. The server half and the client half share it.
//
// The formats of messages, sealed contents and key blobs are in e2ee/rocketchat.
package wire

import (
	"fmt"
	"net/http"
	"time"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/e2ee/rocketchat"
)

// The paths of the network.
const (
	PathAPI       = "/api/v1/"
	PathInfo      = "/api/info"
	PathWebsocket = "/websocket"
	PathFiles     = "/file-upload/"
	PathAvatars   = "/avatar/"
)

// The headers of a call.
const (
	HeaderUser   = "X-User-Id"
	HeaderToken  = "X-Auth-Token"
	HeaderCode   = "x-2fa-code"
	HeaderMethod = "x-2fa-method"
)

// Codes of refusals beside those that e2ee/rocketchat has.
const (
	CodeInvalid         = "error-invalid-params"
	CodeMalformed       = "error-invalid-body"
	CodeForbidden       = "error-not-allowed"
	CodeNotFound        = "error-not-found"
	CodeExists          = "error-duplicate"
	CodeTooLarge        = "error-file-too-large"
	CodeLimited         = "error-too-many-requests"
	CodeUnavailable     = "error-unavailable"
	CodeFull            = "error-storage-full"
	CodeQuota           = "error-quota-exceeded"
	CodeInternal        = "error-internal"
	CodeLogin           = "error-login"
	CodeInvalidUser     = "error-invalid-user"
	CodeNoSubscription  = "error-subscription-not-found"
	CodeNoMessage       = "error-message-not-found"
	CodeFileType        = "error-invalid-file-type"
	CodeTwoFactor       = "totp-required"
	CodeTwoFactorWrong  = "totp-invalid"
	CodeEncryptionForce = "error-encrypted-private-rooms-enforced"
	CodeResetFailed     = "error-e2e-key-reset-failed"
	CodeNoMethod        = "404"
)

// Kinds gives each Kind of the core its status and code.
var Kinds = map[quinta.Kind]struct {
	Status int
	Code   string
}{
	quinta.KindInternal:        {http.StatusInternalServerError, CodeInternal},
	quinta.KindInvalid:         {http.StatusBadRequest, CodeInvalid},
	quinta.KindMalformed:       {http.StatusBadRequest, CodeMalformed},
	quinta.KindUnauthenticated: {http.StatusUnauthorized, CodeLogin},
	quinta.KindForbidden:       {http.StatusForbidden, CodeForbidden},
	quinta.KindNotFound:        {http.StatusBadRequest, CodeNotFound},
	quinta.KindExists:          {http.StatusBadRequest, CodeExists},
	quinta.KindConflict:        {http.StatusBadRequest, "error-conflict"},
	quinta.KindTooLarge:        {http.StatusBadRequest, CodeTooLarge},
	quinta.KindLimited:         {http.StatusTooManyRequests, CodeLimited},
	quinta.KindUnavailable:     {http.StatusServiceUnavailable, CodeUnavailable},
	quinta.KindFull:            {http.StatusInsufficientStorage, CodeFull},
	quinta.KindQuota:           {http.StatusInsufficientStorage, CodeQuota},
}

// An Error is a refusal, in the form that REST and DDP each give it.
type Error struct {
	Status int
	// Code is the errorType of REST and the error of DDP; Text is for people.
	Code, Text string
	// Details, if not nil, is what the code says more.
	Details any
	// RetryAfter says when to try again, if that helps.
	RetryAfter time.Duration
}

// NewError makes a refusal.
func NewError(status int, code, text string) *Error {
	return &Error{Status: status, Code: code, Text: text}
}

// Error returns the text with its code, as Rocket.Chat writes it.
func (e *Error) Error() string {
	if e.Code == "" {
		return e.Text
	}
	return fmt.Sprintf("%s [%s]", e.Text, e.Code)
}

// Info answers PathInfo.
type Info struct {
	Success bool   `json:"success"`
	Version string `json:"version"`
}

// A Login is the answer to a login by REST.
type Login struct {
	Status string `json:"status"`
	Data   struct {
		UserID    string `json:"userId"`
		AuthToken string `json:"authToken"`
		Me        User   `json:"me"`
	} `json:"data"`
}

// A User is a user as others see them.
type User struct {
	ID       string   `json:"_id"`
	Username string   `json:"username"`
	Name     string   `json:"name,omitempty"`
	Status   string   `json:"status,omitempty"`
	Active   bool     `json:"active,omitempty"`
	Roles    []string `json:"roles,omitempty"`
	Type     string   `json:"type,omitempty"`
}

// A Subscription is a user's own part in a room. No one else gets to see it.
type Subscription struct {
	ID            string              `json:"_id"`
	Room          quinta.RoomID       `json:"rid"`
	Name          string              `json:"name"`
	FName         string              `json:"fname,omitempty"`
	Type          string              `json:"t"`
	User          rocketchat.Author   `json:"u"`
	Open          bool                `json:"open"`
	Alert         bool                `json:"alert"`
	Unread        int64               `json:"unread"`
	Mentions      int64               `json:"userMentions"`
	GroupMentions int64               `json:"groupMentions"`
	Roles         []string            `json:"roles,omitempty"`
	TS            rocketchat.Date     `json:"ts"`
	Seen          rocketchat.Date     `json:"ls,omitzero"`
	Updated       rocketchat.Date     `json:"_updatedAt"`
	Encrypted     bool                `json:"encrypted,omitempty"`
	E2EKey        string              `json:"E2EKey,omitempty"`
	Suggested     string              `json:"E2ESuggestedKey,omitempty"`
	Old           []rocketchat.OldKey `json:"oldRoomKeys,omitempty"`
	SuggestedOld  []rocketchat.OldKey `json:"suggestedOldRoomKeys,omitempty"`
}

// A Room is a room as its members see it.
type Room struct {
	ID        quinta.RoomID     `json:"_id"`
	Type      string            `json:"t"`
	Name      string            `json:"name,omitempty"`
	FName     string            `json:"fname,omitempty"`
	Topic     string            `json:"topic,omitempty"`
	Creator   rocketchat.Author `json:"u"`
	Users     int64             `json:"usersCount"`
	Messages  int64             `json:"msgs"`
	Encrypted bool              `json:"encrypted,omitempty"`
	KeyID     string            `json:"e2eKeyId,omitempty"`
	Waiting   []WaitingUser     `json:"usersWaitingForE2EKeys,omitempty"`
	UserIDs   []string          `json:"uids,omitempty"`
	Usernames []string          `json:"usernames,omitempty"`
	Last      rocketchat.Date   `json:"lm,omitzero"`
	TS        rocketchat.Date   `json:"ts,omitzero"`
	Updated   rocketchat.Date   `json:"_updatedAt"`
}

// A WaitingUser waits for a room key.
type WaitingUser struct {
	User string          `json:"userId"`
	TS   rocketchat.Date `json:"ts"`
}

// A Keyless is a user without a room key, with their public key.
type Keyless struct {
	ID  string `json:"_id"`
	E2E struct {
		Public string `json:"public_key"`
	} `json:"e2e"`
}

// State makes the machine's input from a room and the caller's part in it.
func State(s Subscription, r Room) rocketchat.RoomState {
	out := rocketchat.RoomState{ID: s.Room, Type: s.Type, Name: s.FName, Topic: r.Topic, Encrypted: s.Encrypted || r.Encrypted, KeyID: r.KeyID,
		OwnKey: s.E2EKey, Suggested: s.Suggested, Old: s.Old, SuggestedOld: s.SuggestedOld}
	if out.Name == "" {
		out.Name = s.Name
	}
	if s.Type == "d" {
		for i, id := range r.UserIDs {
			p := rocketchat.Author{ID: id}
			if i < len(r.Usernames) {
				p.Name = r.Usernames[i]
			}
			out.Peers = append(out.Peers, p)
		}
	}
	return out
}
