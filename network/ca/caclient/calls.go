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
		as(func(v *wire.Roots, a *ca.Ans) { a.Roots = rootsOf(v) })},
	ca.ReqCRL: {func(*ca.Req) (request, any) { return open(large(get(wire.PathCRL))), nil },
		func(b []byte, a *ca.Ans) error { a.CRL = b; return nil }},

	ca.ReqEnrol: {func(r *ca.Req) (request, any) { return post(wire.PathKeys), r.Enrol }, keyAnswer},
	ca.ReqNonce: {func(r *ca.Req) (request, any) { return post(path(wire.PathNonce, r.Key)), wire.Empty{} },
		as(func(v *wire.Nonce, a *ca.Ans) { a.Nonce = v.Nonce })},
	ca.ReqRenew:  {func(r *ca.Req) (request, any) { return post(path(wire.PathRenew, r.Key)), r.Renew }, keyAnswer},
	ca.ReqRetire: {func(r *ca.Req) (request, any) { return del(path(wire.PathKey, r.Key)), wire.Empty{} }, keyAnswer},
	ca.ReqRevoke: {func(r *ca.Req) (request, any) {
		return post(path(wire.PathRevoke, r.Key)), wire.RevokeRequest{Reason: r.Reason}
	}, keyAnswer},
	ca.ReqApprove: {func(r *ca.Req) (request, any) { return put(path(wire.PathApproval, r.Key)), r.Approval }, noAnswer},
	ca.ReqKeys: {func(r *ca.Req) (request, any) { return large(get(path(wire.PathUserKeys, string(r.User)))), nil },
		as(func(v *wire.KeyList, a *ca.Ans) { a.Keys = keyListOf(v) })},

	ca.ReqConversations: {func(*ca.Req) (request, any) { return large(get(wire.PathConversations)), nil },
		as(func(v *wire.ConversationList, a *ca.Ans) {
			a.Conversations = make([]ca.Conversation, len(v.Conversations))
			for i := range v.Conversations {
				a.Conversations[i] = conversationOf(&v.Conversations[i])
			}
		})},
	ca.ReqConversation: {func(r *ca.Req) (request, any) { return get(path(wire.PathConversation, string(r.Conv))), nil }, conversationAnswer},
	ca.ReqPutConversation: {func(r *ca.Req) (request, any) {
		return put(path(wire.PathConversation, string(r.Conv))), wire.ConversationRequest{Members: r.Members, Profile: r.Profile}
	}, conversationAnswer},
	ca.ReqMembers: {func(r *ca.Req) (request, any) {
		return post(path(wire.PathMembers, string(r.Conv))), wire.MembersRequest{Add: r.Members}
	}, conversationAnswer},
	ca.ReqLeave: {func(r *ca.Req) (request, any) { return del(path(wire.PathConversation, string(r.Conv))), wire.Empty{} }, noAnswer},

	ca.ReqMessage: {func(r *ca.Req) (request, any) {
		return put(path(wire.PathMessage, string(r.Conv), string(r.Message))), r.Deliver
	}, as(func(v *wire.Delivered, a *ca.Ans) { a.Delivered = &ca.Delivered{Pos: v.Pos, Received: v.Received} })},
	ca.ReqHistory: {func(r *ca.Req) (request, any) { return historyRequest(r.Conv, r.Before, r.Limit), nil },
		as(func(v *wire.History, a *ca.Ans) { a.History = historyOf(v) })},
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
	return large(get(path(wire.PathHistory, string(conv)) + "?" + q.Encode()))
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

var errAnswer = errors.New("the answer is not the JSON of this call")

var (
	keyAnswer          = as(func(v *wire.KeyInfo, a *ca.Ans) { k := keyOf(v); a.Key = &k })
	conversationAnswer = as(func(v *wire.Conversation, a *ca.Ans) { c := conversationOf(v); a.Conversation = &c })
	backupAnswer       = as(func(v *wire.Backup, a *ca.Ans) { a.Backup = &ca.Backup{Sealed: v.Sealed, Tag: v.Tag} })
	noAnswer           = as(func(*wire.Empty, *ca.Ans) {})
)

func rootsOf(v *wire.Roots) *ca.Roots {
	return &ca.Roots{Domain: v.Domain, Roots: v.Roots, Intermediates: v.Intermediates, Grace: v.Grace}
}

func keyOf(v *wire.KeyInfo) ca.KeyInfo {
	return ca.KeyInfo{User: v.Username, Device: v.Device, ID: v.KeyID, Use: v.Use, Profile: v.Profile, PublicKey: v.PublicKey,
		NotBefore: v.NotBefore, Expires: v.Expires, State: string(v.State), Replaces: v.Replaces, Renewal: v.Renewal, Cert: v.Cert}
}

func keyListOf(v *wire.KeyList) *ca.KeyList {
	l := &ca.KeyList{User: v.Username, Keys: make([]ca.KeyInfo, len(v.Keys))}
	for i := range v.Keys {
		l.Keys[i] = keyOf(&v.Keys[i])
	}
	return l
}

func conversationOf(v *wire.Conversation) ca.Conversation {
	return ca.Conversation{Conv: v.Conv, Profile: v.Profile, Members: v.Members, Chosen: v.Chosen}
}

func itemsOf(list []wire.Item) []ca.Item {
	out := make([]ca.Item, len(list))
	for i, it := range list {
		out[i] = ca.Item{Pos: it.Pos, Kind: ca.Kind(it.Kind), Form: ca.Form(it.Form), Conv: it.Conv, ID: it.ID, From: it.From, Device: it.Device, Received: it.Received, Body: it.Body}
	}
	return out
}

func historyOf(v *wire.History) *ca.History {
	return &ca.History{Items: itemsOf(v.Messages), Before: v.Before}
}
