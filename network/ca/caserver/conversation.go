package caserver

import (
	"errors"
	"net/http"
	"slices"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/network/ca/wire"
	"github.com/quinta-chat/quinta/server/account"
	"github.com/quinta-chat/quinta/server/conversation"
	"github.com/quinta-chat/quinta/server/db"
)

func (s *caServer) conversationCalls() {
	s.at(http.MethodGet, wire.PathConversations, endpoint{rate: rateRead, handle: (*call).getConversations})
	s.at(http.MethodGet, wire.PathConversation, endpoint{rate: rateRead, handle: (*call).getConversation})
	s.at(http.MethodPut, wire.PathConversation, endpoint{rate: rateWrite, body: maxBody, handle: (*call).putConversation})
	s.at(http.MethodDelete, wire.PathConversation, endpoint{rate: rateWrite, body: maxBody, handle: (*call).leaveConversation})
	s.at(http.MethodPost, wire.PathMembers, endpoint{rate: rateWrite, body: maxBody, handle: (*call).postMembers})
}

// roleChosen is the role of a member who chose the profile, where it is the
// legacy one.
const roleChosen = "chosen"

// A talk is a conversation with its members, those who left included.
type talk struct {
	wire.Conversation
	members []conversation.Member
}

var errNoConversation = notFound("there is no such conversation, or this user is not in it")

// talkOf reads a conversation, or returns errNoConversation.
func talkOf(tx *db.Tx, id quinta.RoomID) (*talk, error) {
	c, err := conversation.Get(tx, network, id)
	if errors.Is(err, conversation.ErrUnknown) {
		return nil, errNoConversation
	}
	if err != nil {
		return nil, err
	}
	t := &talk{Conversation: wire.Conversation{Conv: id, Profile: c.Kind, Creator: c.Creator, Created: utc(c.Created)}}
	if t.members, err = conversation.Members(tx, network, id); err != nil {
		return nil, err
	}
	t.list()
	return t, nil
}

// list fills what the wire shows of the members.
func (t *talk) list() {
	t.Members, t.Chosen = []quinta.UserID{}, nil
	for _, m := range t.members {
		if !m.In() {
			continue
		}
		t.Members = append(t.Members, m.User)
		if m.Role == roleChosen {
			t.Chosen = append(t.Chosen, m.User)
		}
	}
}

// of returns the membership of a user who is in the conversation.
func (t *talk) of(user quinta.UserID) (conversation.Member, bool) {
	for _, m := range t.members {
		if m.User == user && m.In() {
			return m, true
		}
	}
	return conversation.Member{}, false
}

// joinedConversation reads a conversation that the caller is in.
func (c *call) joinedConversation(tx *db.Tx) (*talk, conversation.Member, error) {
	t, err := talkOf(tx, quinta.RoomID(c.r.PathValue("conv")))
	if err != nil {
		return nil, conversation.Member{}, err
	}
	m, ok := t.of(c.user)
	if !ok {
		return nil, conversation.Member{}, errNoConversation
	}
	return t, m, nil
}

func (c *call) getConversation() (any, error) {
	var conv *talk
	err := c.View(c.ctx(), func(tx *db.Tx) (err error) {
		conv, _, err = c.joinedConversation(tx)
		return err
	})
	if err != nil {
		return nil, err
	}
	return conv.Conversation, nil
}

// maxConversations bounds the conversations of one user.
const maxConversations = 5000

func (c *call) getConversations() (any, error) {
	list := wire.ConversationList{Conversations: []wire.Conversation{}}
	err := c.View(c.ctx(), func(tx *db.Tx) error {
		ids, err := conversation.Of(tx, network, c.user, maxConversations)
		if err != nil {
			return err
		}
		for _, id := range ids {
			conv, err := talkOf(tx, id)
			if err != nil {
				return err
			}
			list.Conversations = append(list.Conversations, conv.Conversation)
		}
		return nil
	})
	return list, err
}

// putConversation makes a conversation, or lets the other member of a legacy
// one choose that profile.
func (c *call) putConversation() (any, error) {
	id := quinta.RoomID(c.r.PathValue("conv"))
	if !wire.CheckConv(id) {
		return nil, invalid("the id of a conversation is 16 to 64 letters, digits, _ and -")
	}
	var q wire.ConversationRequest
	if err := c.decode(&q); err != nil {
		return nil, err
	}
	users, err := c.membersOf(id, &q)
	if err != nil {
		return nil, err
	}
	var conv *talk
	fresh := false
	err = c.Update(c.ctx(), func(tx *db.Tx) (err error) {
		conv, err = talkOf(tx, id)
		if errors.Is(err, errNoConversation) {
			fresh = true
			conv, err = c.newConversation(tx, id, q.Profile, users)
			return err
		}
		if err != nil {
			return err
		}
		return c.choose(tx, conv, q.Profile, users)
	})
	if err != nil {
		return nil, err
	}
	if fresh {
		c.write(http.StatusCreated, conv.Conversation)
		c.done = true
	}
	return conv.Conversation, nil
}

// membersOf returns the members of a request, each once and the caller among
// them.
func (c *call) membersOf(id quinta.RoomID, q *wire.ConversationRequest) ([]quinta.UserID, error) {
	users := append([]quinta.UserID{c.user}, q.Members...)
	slices.Sort(users)
	users = slices.Compact(users)
	switch {
	case len(users) > wire.MaxMembers:
		return nil, wire.NewError(http.StatusRequestEntityTooLarge, wire.CodeTooLarge, "a conversation has at most 100 members")
	case q.Profile != wire.ProfileSecure && q.Profile != wire.ProfileLegacy:
		return nil, wire.NewError(http.StatusBadRequest, wire.CodeUnsupported, "there is no such profile")
	case q.Profile == wire.ProfileLegacy && len(users) != 2:
		return nil, invalid("a conversation of the legacy profile has two members")
	case wire.IsDirect(id) && (len(users) > 2 || id != wire.Direct(users[0], users[len(users)-1], q.Profile)):
		return nil, invalid("this id belongs to a conversation of two other users, or of another profile")
	}
	return users, nil
}

func (c *call) newConversation(tx *db.Tx, id quinta.RoomID, profile string, users []quinta.UserID) (*talk, error) {
	ids, err := conversation.Of(tx, network, c.user, maxConversations)
	if err != nil {
		return nil, err
	}
	if len(ids) >= maxConversations {
		return nil, limited(1)
	}
	if err := conversation.New(tx, network, conversation.Conversation{ID: id, Kind: profile, Creator: c.user}); err != nil {
		return nil, err
	}
	for _, u := range users {
		if err := c.addMember(tx, id, u, profile == wire.ProfileLegacy && u == c.user); err != nil {
			return nil, err
		}
	}
	return talkOf(tx, id)
}

// addMember adds a user, who must be one of this server.
func (c *call) addMember(tx *db.Tx, id quinta.RoomID, user quinta.UserID, chosen bool) error {
	if there, err := account.Exists(tx, c.loginName(string(user))); err != nil || !there || c.userOf(c.loginName(string(user))) != user {
		return errOr(err, notFound("a member is not a user of this server"))
	}
	role := ""
	if chosen {
		role = roleChosen
	}
	_, err := conversation.Join(tx, network, id, user, role)
	return err
}

// choose compares a request with the conversation that there is and, in the
// legacy profile, notes that the caller has chosen it too.
func (c *call) choose(tx *db.Tx, conv *talk, profile string, users []quinta.UserID) error {
	if _, ok := conv.of(c.user); !ok || conv.Profile != profile || !slices.Equal(conv.Members, users) {
		return wire.NewError(http.StatusConflict, wire.CodeConflict, "there is already a conversation with this id, with other members or another profile")
	}
	if profile != wire.ProfileLegacy || slices.Contains(conv.Chosen, c.user) {
		return nil
	}
	if _, err := conversation.SetRole(tx, network, conv.Conv, c.user, roleChosen); err != nil {
		return err
	}
	conv.Chosen = append(conv.Chosen, c.user)
	slices.Sort(conv.Chosen)
	return nil
}

// leaveConversation takes the caller out.
func (c *call) leaveConversation() (any, error) {
	if err := c.decode(&wire.Empty{}); err != nil {
		return nil, err
	}
	return wire.Empty{}, c.Update(c.ctx(), func(tx *db.Tx) error {
		conv, _, err := c.joinedConversation(tx)
		if err != nil {
			return err
		}
		_, err = conversation.Leave(tx, network, conv.Conv, c.user)
		return err
	})
}

// postMembers adds members to a group. They read from now on.
func (c *call) postMembers() (any, error) {
	var q wire.MembersRequest
	if err := c.decode(&q); err != nil {
		return nil, err
	}
	if len(q.Add) > wire.MaxMembers {
		return nil, wire.NewError(http.StatusRequestEntityTooLarge, wire.CodeTooLarge, "a conversation has at most 100 members")
	}
	var conv *talk
	err := c.Update(c.ctx(), func(tx *db.Tx) (err error) {
		if conv, _, err = c.joinedConversation(tx); err != nil {
			return err
		}
		if wire.IsDirect(conv.Conv) || conv.Profile == wire.ProfileLegacy {
			return invalid("a direct conversation cannot become a group")
		}
		for _, u := range q.Add {
			if err := c.addMember(tx, conv.Conv, u, false); err != nil {
				return err
			}
		}
		if conv, err = talkOf(tx, conv.Conv); err == nil && len(conv.Members) > wire.MaxMembers {
			return wire.NewError(http.StatusRequestEntityTooLarge, wire.CodeTooLarge, "a conversation has at most 100 members")
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	return conv.Conversation, nil
}
