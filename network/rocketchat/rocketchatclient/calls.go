package rocketchatclient

import (
	"context"
	"encoding/json"
	"errors"
	"net/url"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/e2ee/rocketchat"
	"github.com/quinta-chat/quinta/network/rocketchat/wire"
)

// sent is a message as a client sends it.
type sent struct {
	ID      quinta.MessageID `json:"_id,omitempty"`
	Room    quinta.RoomID    `json:"rid"`
	Type    string           `json:"t,omitempty"`
	Msg     string           `json:"msg,omitempty"`
	Content json.RawMessage  `json:"content,omitempty"`
	E2E     string           `json:"e2e,omitempty"`
	Thread  quinta.MessageID `json:"tmid,omitempty"`
}

type object = map[string]any

const opDo = "speaking to the server"

// calls are the routes of the machine's requests.
var calls = map[rocketchat.ReqKind]func(ctx context.Context, l *link, r rocketchat.Req) (rocketchat.Ans, error){
	rocketchat.ReqKeys: func(ctx context.Context, l *link, r rocketchat.Req) (rocketchat.Ans, error) {
		var a struct {
			Public  string `json:"public_key"`
			Private string `json:"private_key"`
			Success bool   `json:"success"`
		}
		err := l.get(ctx, opDo, string(r.Kind), nil, &a)
		if err == nil && !a.Success {
			// Only a clear answer says that the user has no keys.
			err = quinta.E(quinta.KindUnavailable, opDo, "the server's answer about the keys of the account is not clear")
		}
		return rocketchat.Ans{Public: a.Public, Private: a.Private}, err
	},
	rocketchat.ReqSetKeys: func(ctx context.Context, l *link, r rocketchat.Req) (rocketchat.Ans, error) {
		in := object{"public_key": r.Public, "private_key": r.Private}
		if r.Force {
			in["force"] = true
		}
		return rocketchat.Ans{}, l.post(ctx, opDo, string(r.Kind), in, nil)
	},
	rocketchat.ReqRequestKeys: func(ctx context.Context, l *link, r rocketchat.Req) (rocketchat.Ans, error) {
		err := l.post(ctx, opDo, string(r.Kind), object{}, nil)
		if e, ok := errors.AsType[*wire.Error](err); ok && (e.Status == 404 || e.Status == 405) {
			// Before 8.6 it is a method of DDP alone. Without a connection the others
			// find this user in the waiting queue all the same.
			if s := l.live(); s != nil {
				_, err = s.method(ctx, string(r.Kind))
				return rocketchat.Ans{}, err
			}
			err = nil
		}
		return rocketchat.Ans{}, err
	},
	rocketchat.ReqRoom: func(ctx context.Context, l *link, r rocketchat.Req) (rocketchat.Ans, error) {
		s, err := l.subscription(ctx, r.Room)
		if err != nil || s == nil {
			return rocketchat.Ans{}, err
		}
		room, err := l.roomOf(ctx, r.Room)
		if err != nil || room == nil {
			return rocketchat.Ans{}, err
		}
		st := wire.State(*s, *room)
		return rocketchat.Ans{Room: &st}, nil
	},
	rocketchat.ReqSetRoomKey: func(ctx context.Context, l *link, r rocketchat.Req) (rocketchat.Ans, error) {
		return rocketchat.Ans{}, l.post(ctx, opDo, string(r.Kind), object{"rid": r.Room, "keyID": r.KeyID}, nil)
	},
	rocketchat.ReqOwnRoomKey: func(ctx context.Context, l *link, r rocketchat.Req) (rocketchat.Ans, error) {
		return rocketchat.Ans{}, l.post(ctx, opDo, string(r.Kind), object{"uid": l.self.ID, "rid": r.Room, "key": r.Key}, nil)
	},
	rocketchat.ReqUsers: func(ctx context.Context, l *link, r rocketchat.Req) (rocketchat.Ans, error) {
		var a struct {
			Users []wire.Keyless `json:"users"`
		}
		err := l.get(ctx, opDo, string(r.Kind), url.Values{"rid": {string(r.Room)}}, &a)
		var list []rocketchat.Waiting
		for _, u := range a.Users {
			list = append(list, rocketchat.Waiting{User: u.ID, Public: u.E2E.Public})
		}
		return rocketchat.Ans{Waiting: map[quinta.RoomID][]rocketchat.Waiting{r.Room: list}}, err
	},
	rocketchat.ReqWaiting: func(ctx context.Context, l *link, r rocketchat.Req) (rocketchat.Ans, error) {
		q := url.Values{}
		for _, id := range r.Rooms {
			q.Add("roomIds[]", string(id))
		}
		var a struct {
			Waiting map[quinta.RoomID][]struct {
				ID     string `json:"_id"`
				Public string `json:"public_key"`
			} `json:"usersWaitingForE2EKeys"`
		}
		err := l.get(ctx, opDo, string(r.Kind), q, &a)
		out := map[quinta.RoomID][]rocketchat.Waiting{}
		for id, list := range a.Waiting {
			for _, u := range list {
				out[id] = append(out[id], rocketchat.Waiting{User: u.ID, Public: u.Public})
			}
		}
		return rocketchat.Ans{Waiting: out}, err
	},
	rocketchat.ReqProvide: func(ctx context.Context, l *link, r rocketchat.Req) (rocketchat.Ans, error) {
		return rocketchat.Ans{}, l.post(ctx, opDo, string(r.Kind), object{"usersSuggestedGroupKeys": object{string(r.Room): r.Provide}}, nil)
	},
	rocketchat.ReqAccept: judge,
	rocketchat.ReqReject: judge,
	rocketchat.ReqReset: func(ctx context.Context, l *link, r rocketchat.Req) (rocketchat.Ans, error) {
		return rocketchat.Ans{}, l.post(ctx, opDo, string(r.Kind), object{"rid": r.Room, "e2eKey": r.Key, "e2eKeyId": r.KeyID}, nil)
	},
	rocketchat.ReqSend: func(ctx context.Context, l *link, r rocketchat.Req) (rocketchat.Ans, error) {
		m := r.Message
		var a struct {
			Message *rocketchat.Message `json:"message"`
		}
		err := l.post(ctx, opDo, string(r.Kind), object{"message": sent{m.ID, m.Room, m.Type, m.Msg, m.Content, m.E2E, m.Thread}}, &a)
		if quinta.KindOf(err) == quinta.KindExists {
			// It may be this very message, whose answer was lost.
			var have struct {
				Message *rocketchat.Message `json:"message"`
			}
			if gerr := l.get(ctx, opDo, "chat.getMessage", url.Values{"msgId": {string(m.ID)}}, &have); gerr != nil {
				return rocketchat.Ans{}, gerr
			}
			if h := have.Message; h != nil && h.User.ID == l.self.ID && h.Room == m.Room {
				return rocketchat.Ans{Message: h}, nil
			}
		}
		return rocketchat.Ans{Message: a.Message}, err
	},
	rocketchat.ReqConfirm: func(ctx context.Context, l *link, r rocketchat.Req) (rocketchat.Ans, error) {
		m := r.Message
		in := object{"t": m.Type, "content": m.Content}
		if m.Thread != "" {
			in["tmid"] = m.Thread
		}
		var a struct {
			Message *rocketchat.Message `json:"message"`
		}
		err := l.post(ctx, opDo, string(r.Kind)+"/"+url.PathEscape(string(m.Room))+"/"+url.PathEscape(r.File), in, &a)
		return rocketchat.Ans{Message: a.Message}, err
	},
	rocketchat.ReqUpdate: func(ctx context.Context, l *link, r rocketchat.Req) (rocketchat.Ans, error) {
		m := r.Message
		in := object{"roomId": m.Room, "msgId": m.ID}
		if m.Type == rocketchat.TypeE2E && len(m.Content) > 0 {
			in["content"] = m.Content
		} else {
			in["text"] = m.Msg
		}
		return rocketchat.Ans{}, l.post(ctx, opDo, string(r.Kind), in, nil)
	},
	rocketchat.ReqDelete: func(ctx context.Context, l *link, r rocketchat.Req) (rocketchat.Ans, error) {
		return rocketchat.Ans{}, l.post(ctx, opDo, string(r.Kind), object{"roomId": r.Message.Room, "msgId": r.Message.ID, "asUser": true}, nil)
	},
	rocketchat.ReqReact: func(ctx context.Context, l *link, r rocketchat.Req) (rocketchat.Ans, error) {
		return rocketchat.Ans{}, l.post(ctx, opDo, string(r.Kind), object{"messageId": r.Message.ID, "emoji": r.Emoji, "shouldReact": true}, nil)
	},
}

func judge(ctx context.Context, l *link, r rocketchat.Req) (rocketchat.Ans, error) {
	return rocketchat.Ans{}, l.post(ctx, opDo, string(r.Kind), object{"rid": r.Room}, nil)
}
