package sas

import (
	"fmt"

	"github.com/quinta-chat/quinta/internal/canonicaljson"
	"github.com/quinta-chat/quinta/internal/exactjson"
)

// Types of the messages of a flow.
const (
	TypeRequest = "m.key.verification.request"
	TypeReady   = "m.key.verification.ready"
	TypeStart   = "m.key.verification.start"
	TypeAccept  = "m.key.verification.accept"
	TypeKey     = "m.key.verification.key"
	TypeMAC     = "m.key.verification.mac"
	TypeDone    = "m.key.verification.done"
	TypeCancel  = "m.key.verification.cancel"
)

// Codes of cancellation.
const (
	CodeUser               = "m.user"
	CodeTimeout            = "m.timeout"
	CodeUnknownTransaction = "m.unknown_transaction"
	CodeUnknownMethod      = "m.unknown_method"
	CodeUnexpectedMessage  = "m.unexpected_message"
	CodeKeyMismatch        = "m.key_mismatch"
	CodeUserMismatch       = "m.user_mismatch"
	CodeInvalidMessage     = "m.invalid_message"
	CodeAccepted           = "m.accepted"
	CodeCommitment         = "m.mismatched_commitment"
	CodeSAS                = "m.mismatched_sas"
)

// reasons are the words for people that go with a code.
var reasons = map[string]string{
	CodeUser:               "The user cancelled the verification",
	CodeTimeout:            "The verification timed out",
	CodeUnknownTransaction: "Unknown verification",
	CodeUnknownMethod:      "No common verification method",
	CodeUnexpectedMessage:  "Unexpected verification message",
	CodeKeyMismatch:        "The keys do not match",
	CodeUserMismatch:       "The user or device does not match",
	CodeInvalidMessage:     "Invalid verification message",
	CodeAccepted:           "Another device accepted the verification",
	CodeCommitment:         "The commitment does not match",
	CodeSAS:                "The short authentication strings do not match",
}

// A Message is one message of a flow: its type and its content.
type Message struct {
	Type    string
	Content []byte
}

// limits of what a message may hold.
const (
	maxContent = 32 << 10
	maxList    = 32
)

// content holds every field of every message of a flow but its id.
type content struct {
	FromDevice  string            `json:"from_device,omitempty"`
	Methods     []string          `json:"methods,omitempty"`
	Timestamp   int64             `json:"timestamp,omitempty"`
	Method      string            `json:"method,omitempty"`
	Agreements  []string          `json:"key_agreement_protocols,omitempty"`
	Hashes      []string          `json:"hashes,omitempty"`
	MACs        []string          `json:"message_authentication_codes,omitempty"`
	Strings     []string          `json:"short_authentication_string,omitempty"`
	Agreement   string            `json:"key_agreement_protocol,omitempty"`
	Hash        string            `json:"hash,omitempty"`
	MACName     string            `json:"message_authentication_code,omitempty"`
	Commitment  string            `json:"commitment,omitempty"`
	Key         string            `json:"key,omitempty"`
	MAC         map[string]string `json:"mac,omitempty"`
	Keys        string            `json:"keys,omitempty"`
	Secret      string            `json:"secret,omitempty"`
	Code        string            `json:"code,omitempty"`
	Reason      string            `json:"reason,omitempty"`
	Transaction string            `json:"transaction_id,omitempty"`
	RelatesTo   *relation         `json:"m.relates_to,omitempty"`
	MessageTo   string            `json:"to,omitempty"`
	MessageType string            `json:"msgtype,omitempty"`
	MessageBody string            `json:"body,omitempty"`
}

type relation struct {
	RelType string `json:"rel_type"`
	EventID string `json:"event_id"`
}

// parseContent reads the content of a message and checks its bounds.
func parseContent(raw []byte) (content, error) {
	var c content
	if len(raw) > maxContent {
		return c, fmt.Errorf("sas: message too long")
	}
	if err := canonicaljson.Valid(raw); err != nil {
		return c, err
	}
	if err := exactjson.Unmarshal(raw, &c); err != nil {
		return c, fmt.Errorf("sas: message of the wrong shape")
	}
	for _, n := range []int{len(c.Methods), len(c.Agreements), len(c.Hashes), len(c.MACs), len(c.Strings), len(c.MAC)} {
		if n > maxList {
			return c, fmt.Errorf("sas: message with too many entries")
		}
	}
	return c, nil
}

// encode returns the content as canonical JSON, so that both sides hash the
// same bytes.
func (c content) encode() []byte {
	b, err := canonicaljson.Marshal(c)
	if err != nil {
		panic("sas: internal error: " + err.Error())
	}
	return b
}

// FlowID returns the id of the flow to which a message belongs: its
// transaction_id, or the event that it refers to. It is empty if there is
// none; the first request in a room has the event id as its id.
func FlowID(raw []byte) string {
	c, err := parseContent(raw)
	if err != nil {
		return ""
	}
	if c.RelatesTo != nil && c.RelatesTo.RelType == "m.reference" {
		return c.RelatesTo.EventID
	}
	return c.Transaction
}

// Cancellation returns the message that ends a flow of which there is no
// [Flow], such as one for a transaction that is not known.
func Cancellation(id string, inRoom bool, code string) Message {
	return Message{TypeCancel, within(content{Code: code, Reason: reasons[code]}, id, inRoom).encode()}
}

func within(c content, id string, inRoom bool) content {
	if inRoom {
		c.RelatesTo = &relation{RelType: "m.reference", EventID: id}
	} else {
		c.Transaction = id
	}
	return c
}
