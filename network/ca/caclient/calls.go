package caclient

import (
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"strconv"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/e2ee/ca"
	"github.com/quinta-chat/quinta/network/ca/wire"
	"github.com/quinta-chat/quinta/network/internal/dial"
)

// A wireCall is how one kind of request goes over the wire.
type wireCall struct {
	// request gives the call and the JSON of its body, or nil.
	request func(r *ca.Req) (request, any)
	// answer reads a success.
	answer func(b []byte, a *ca.Ans) error
}

func get(path string) request  { return request{method: http.MethodGet, path: path} }
func post(path string) request { return request{method: http.MethodPost, path: path} }
func put(path string) request  { return request{method: http.MethodPut, path: path} }
func del(path string) request  { return request{method: http.MethodDelete, path: path} }

// large lets the answer of a call be large.
func large(q request) request {
	q.max = maxLarge
	return q
}

// open makes a call one without a token.
func open(q request) request {
	q.open = true
	return q
}

// calls is the table from the machine's requests to the wire's calls.
var calls = map[ca.ReqKind]wireCall{
	ca.ReqRoots: {func(*ca.Req) (request, any) { return open(get(wire.PathRoots)), nil },
		as(func(v *wire.Roots, a *ca.Ans) { a.Roots = &v.Anchors })},
	ca.ReqCRL: {func(*ca.Req) (request, any) { return open(large(get(wire.PathCRL))), nil },
		func(b []byte, a *ca.Ans) error { a.CRL = b; return nil }},

	ca.ReqEnrol: {func(r *ca.Req) (request, any) { return post(wire.PathKeys), r.Enrol }, keyAnswer},
	ca.ReqNonce: {func(r *ca.Req) (request, any) { return post(dial.Path(wire.PathNonce, string(r.Key))), wire.Empty{} },
		as(func(v *wire.Nonce, a *ca.Ans) { a.Nonce = v.Nonce })},
	ca.ReqRenew:  {func(r *ca.Req) (request, any) { return post(dial.Path(wire.PathRenew, string(r.Key))), r.Renew }, keyAnswer},
	ca.ReqRetire: {func(r *ca.Req) (request, any) { return del(dial.Path(wire.PathKey, string(r.Key))), wire.Empty{} }, keyAnswer},
	ca.ReqRevoke: {func(r *ca.Req) (request, any) {
		return post(dial.Path(wire.PathRevoke, string(r.Key))), wire.RevokeRequest{Reason: r.Reason}
	}, keyAnswer},
	ca.ReqApprove: {func(r *ca.Req) (request, any) { return put(dial.Path(wire.PathApproval, string(r.Key))), r.Approval }, noAnswer},
	ca.ReqKeys: {func(r *ca.Req) (request, any) { return large(get(dial.Path(wire.PathUserKeys, string(r.User)))), nil },
		as(func(v *ca.KeyList, a *ca.Ans) { a.Keys = v })},

	ca.ReqConversations: {func(*ca.Req) (request, any) { return large(get(wire.PathConversations)), nil },
		as(func(v *wire.ConversationList, a *ca.Ans) { a.Conversations = v.Conversations })},
	ca.ReqConversation: {func(r *ca.Req) (request, any) { return get(dial.Path(wire.PathConversation, string(r.Conv))), nil }, conversationAnswer},
	ca.ReqPutConversation: {func(r *ca.Req) (request, any) {
		return put(dial.Path(wire.PathConversation, string(r.Conv))), wire.ConversationRequest{Members: r.Members, Profile: r.Profile}
	}, conversationAnswer},
	ca.ReqMembers: {func(r *ca.Req) (request, any) {
		return post(dial.Path(wire.PathMembers, string(r.Conv))), wire.MembersRequest{Add: r.Members}
	}, conversationAnswer},
	ca.ReqLeave: {func(r *ca.Req) (request, any) {
		return del(dial.Path(wire.PathConversation, string(r.Conv))), wire.Empty{}
	}, noAnswer},

	ca.ReqMessage: {func(r *ca.Req) (request, any) {
		return put(dial.Path(wire.PathMessage, string(r.Conv), string(r.Message))), r.Deliver
	}, as(func(v *ca.Delivered, a *ca.Ans) { a.Delivered = v })},
	ca.ReqHistory: {func(r *ca.Req) (request, any) { return historyRequest(r.Conv, r.Before, r.Limit), nil },
		as(func(v *ca.History, a *ca.Ans) { a.History = v })},
	ca.ReqAck: {func(r *ca.Req) (request, any) { return post(wire.PathAck), wire.AckRequest{UpTo: r.UpTo} }, noAnswer},

	ca.ReqBackup:    {func(*ca.Req) (request, any) { return get(wire.PathBackup), nil }, backupAnswer},
	ca.ReqPutBackup: {func(r *ca.Req) (request, any) { return put(wire.PathBackup), r.Backup }, backupAnswer},
}

// historyRequest asks for a page of a conversation, newest first.
func historyRequest(conv quinta.RoomID, before quinta.Pos, limit int) request {
	q := url.Values{}
	if before > 0 {
		q.Set("before", strconv.FormatInt(int64(before), 10))
	}
	if limit > 0 {
		q.Set("limit", strconv.Itoa(min(limit, wire.MaxLimit)))
	}
	return large(get(dial.Path(wire.PathHistory, string(conv)) + "?" + q.Encode()))
}

// as reads a JSON answer.
func as[T any](take func(v *T, a *ca.Ans)) func(b []byte, a *ca.Ans) error {
	return func(b []byte, a *ca.Ans) error {
		v := new(T)
		if err := json.Unmarshal(b, v); err != nil {
			return errAnswer
		}
		take(v, a)
		return nil
	}
}

var errAnswer = errors.New("the answer is not the JSON that this call returns")

var (
	keyAnswer          = as(func(v *ca.KeyInfo, a *ca.Ans) { a.Key = v })
	conversationAnswer = as(func(v *ca.Conversation, a *ca.Ans) { a.Conversation = v })
	backupAnswer       = as(func(v *ca.Backup, a *ca.Ans) { a.Backup = v })
	noAnswer           = as(func(*wire.Empty, *ca.Ans) {})
)
