package mtprotoserver

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/network/mtproto/wire"
	"github.com/quinta-chat/quinta/server"
	"github.com/quinta-chat/quinta/server/account"
	"github.com/quinta-chat/quinta/server/db"
)

// firstUser is added to an account's number to make its user id, so that ids
// never collide with those that other clients reserve, and do not fit into 32
// bits.
const firstUser = 5_000_000_000

// userID is the id of an account's user, made once.
func userID(tx *db.Tx, who account.Name) (int64, error) {
	n, err := account.Number(tx, who)
	return firstUser + n, err
}

// AccountOf returns the account of a user, or "" for a number that is none's.
func (s *mtprotoServer) AccountOf(tx *db.Tx, user quinta.UserID) (account.Name, error) {
	n, err := strconv.ParseInt(string(user), 10, 64)
	if err != nil {
		return "", nil
	}
	who, err := accountOf(tx, n)
	if quinta.KindOf(err) == quinta.KindNotFound {
		return "", nil
	}
	return who, err
}

// accountOf is the account of a user id, or an error of KindNotFound.
func accountOf(tx *db.Tx, user int64) (account.Name, error) {
	if user <= firstUser {
		return "", quinta.E(quinta.KindNotFound, "mtproto", "no such user")
	}
	return account.ByNumber(tx, user-firstUser)
}

// numberPrefix begins the number that an account has by itself; eight digits
// follow.
const numberPrefix = "888"

// phoneOf is the number of an account, in digits: one that an operator set, or
// its own.
func phoneOf(tx *db.Tx, who account.Name) (string, error) {
	set, err := account.Aliases(tx, name, who)
	if err != nil {
		return "", err
	}
	if len(set) > 0 {
		return set[0], nil
	}
	n, err := account.Number(tx, who)
	return fmt.Sprintf("%s%08d", numberPrefix, n), err
}

// byPhone is the account that has a number, or "" if no one has.
func byPhone(tx *db.Tx, phone string) (account.Name, error) {
	digits := digitsOf(phone)
	if digits == "" {
		return "", nil
	}
	who, err := account.ByAlias(tx, name, digits)
	if quinta.KindOf(err) == quinta.KindNotFound {
		own, ok := strings.CutPrefix(digits, numberPrefix)
		n, perr := strconv.ParseInt(own, 10, 64)
		if !ok || len(own) < 8 || perr != nil {
			return "", nil
		}
		if who, err = account.ByNumber(tx, n); quinta.KindOf(err) == quinta.KindNotFound {
			return "", nil
		}
		if err == nil {
			// An account with another number does not have its own one any more.
			if is, perr := phoneOf(tx, who); perr != nil || is != digits {
				return "", perr
			}
		}
	}
	if err != nil {
		return "", err
	}
	there, err := account.Exists(tx, who)
	if err != nil || !there {
		return "", err
	}
	return who, nil
}

// digitsOf leaves of a number only its digits; "" if it has other characters
// than people write in numbers, or too many.
func digitsOf(phone string) string {
	var b strings.Builder
	for _, r := range phone {
		switch {
		case r >= '0' && r <= '9':
			b.WriteRune(r)
		case strings.ContainsRune("+ -()", r):
		default:
			return ""
		}
	}
	if b.Len() > 20 {
		return ""
	}
	return b.String()
}

// oldUser is the last layer whose clients do not know the form of wire.User.
const oldUser = 227

// person is what a viewer is told of a user, in the form of the client's layer.
// Its access hash is the viewer's.
func (c *call) person(user int64) (any, error) {
	who, err := accountOf(c.tx, user)
	if err != nil {
		return nil, err
	}
	phone, err := phoneOf(c.tx, who)
	if err != nil {
		return nil, err
	}
	u := &wire.User{ID: user, AccessHash: c.access(user), FirstName: string(who), Username: string(who), Phone: phone, Status: &wire.UserStatusRecently{}, Self: user == c.user}
	shown, err := account.ProfileField(c.tx, who, "displayname")
	if err != nil {
		return nil, err
	}
	var text string
	if json.Unmarshal(shown, &text) == nil && text != "" {
		u.FirstName = text
	}
	if c.layer > 0 && c.layer <= oldUser {
		return (*wire.User227)(u), nil
	}
	return u, nil
}

// people are several of them, for the answers that name them.
func (c *call) people(users ...int64) ([]any, error) {
	seen := map[int64]bool{}
	out := []any{}
	for _, id := range users {
		if seen[id] {
			continue
		}
		seen[id] = true
		u, err := c.person(id)
		if err != nil {
			return nil, err
		}
		out = append(out, u)
	}
	return out, nil
}

// access is the access hash with which this user names another one.
func (c *call) access(user int64) int64 { return c.sec.number("user", c.user, user) }

// named returns the user that an InputUser names to this one.
func (c *call) named(in any) (int64, error) {
	switch in := in.(type) {
	case *wire.InputUserSelf:
		return c.user, nil
	case *wire.InputUser:
		if in.AccessHash != c.access(in.UserID) {
			break
		}
		who, err := accountOf(c.tx, in.UserID)
		if quinta.KindOf(err) == quinta.KindNotFound {
			break
		} else if err != nil {
			return 0, err
		}
		if there, err := account.Exists(c.tx, who); err != nil {
			return 0, err
		} else if !there {
			return 0, refuse(400, "INPUT_USER_DEACTIVATED")
		}
		return in.UserID, nil
	}
	return 0, refuse(400, "USER_ID_INVALID")
}

func resolvePhone(c *call, r *wire.ResolvePhone) (any, error) {
	return c.resolved(func() (account.Name, error) { return byPhone(c.tx, r.Phone) }, "PHONE_NOT_OCCUPIED")
}

func resolveUsername(c *call, r *wire.ResolveUsername) (any, error) {
	return c.resolved(func() (account.Name, error) {
		who, err := account.ParseName(strings.ToLower(strings.TrimPrefix(r.Username, "@")))
		if err != nil {
			return "", nil
		}
		there, err := account.Exists(c.tx, who)
		if err != nil || !there {
			return "", err
		}
		return who, nil
	}, "USERNAME_NOT_OCCUPIED")
}

// rateResolve bounds how often one user looks for people, so that no one walks
// through all numbers.
func (c *call) resolved(find func() (account.Name, error), none string) (any, error) {
	if wait := c.s.Limits.Allow("mtproto resolve", server.ByUser(name, quinta.UserID(strconv.FormatInt(c.user, 10))), rateResolve, 1); wait > 0 {
		return nil, flood(wait)
	}
	who, err := find()
	if err != nil {
		return nil, err
	}
	if who == "" {
		return nil, refuse(400, none)
	}
	id, err := userID(c.tx, who)
	if err != nil {
		return nil, err
	}
	users, err := c.people(id)
	if err != nil {
		return nil, err
	}
	return &wire.ResolvedPeer{Peer: &wire.PeerUser{UserID: id}, Chats: []any{}, Users: users}, nil
}

// maxUsers bounds the users of one question.
const maxUsers = 100

func getUsers(c *call, r *wire.GetUsers) (any, error) {
	if len(r.ID) > maxUsers {
		return nil, refuse(400, "INPUT_REQUEST_TOO_LONG")
	}
	out := []any{}
	for _, in := range r.ID {
		id, err := c.named(in)
		if err != nil {
			return nil, err
		}
		u, err := c.person(id)
		if err != nil {
			return nil, err
		}
		out = append(out, u)
	}
	return out, nil
}

func getFullUser(c *call, r *wire.GetFullUser) (any, error) {
	id, err := c.named(r.ID)
	if err != nil {
		return nil, err
	}
	users, err := c.people(id)
	if err != nil {
		return nil, err
	}
	full := &wire.UserFull{ID: id, Settings: &wire.PeerSettings{}, NotifySettings: &wire.PeerNotifySettings{}}
	return &wire.UsersUserFull{FullUser: full, Chats: []any{}, Users: users}, nil
}
