package rocketchatserver

import (
	"errors"
	"net/http"
	"strings"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/e2ee/rocketchat"
	"github.com/quinta-chat/quinta/network/rocketchat/wire"
	"github.com/quinta-chat/quinta/server/account"
	"github.com/quinta-chat/quinta/server/db"
)

// A person is a user of the network: an id of 17 characters that is made once,
// and the name of the account.
type person struct {
	ID   string
	Name account.Name
	// Public and Private are the public key and the sealed private one.
	Public, Private string
	Closed          bool
}

// keyBytes is what the keys of a person count.
func (p person) keyBytes() int64 { return int64(len(p.Public) + len(p.Private)) }

func (p person) user() quinta.UserID { return quinta.UserID(p.ID) }

func (p person) author() rocketchat.Author {
	return rocketchat.Author{ID: p.ID, Name: string(p.Name)}
}

func (p person) shown() wire.User {
	return wire.User{ID: p.ID, Username: string(p.Name), Name: string(p.Name), Status: "online", Active: !p.Closed, Roles: []string{"user"}, Type: "user"}
}

const personColumns = `id, account, public, private, closed`

var errNoUser = &quinta.Error{Kind: quinta.KindNotFound, Op: "user", Err: wire.NewError(http.StatusBadRequest, wire.CodeInvalidUser, "there is no such user")}

func scanPerson(row db.OneRow) (person, error) {
	var p person
	err := row.Scan(&p.ID, &p.Name, &p.Public, &p.Private, &p.Closed)
	if errors.Is(err, db.ErrNoRows) {
		return p, errNoUser
	}
	return p, err
}

// getPerson returns a user by id; one whose account is closed has no seat.
func getPerson(tx *db.Tx, id string) (person, error) {
	p, err := scanPerson(tx.Row(`SELECT `+personColumns+` FROM rocketchat_user WHERE id = $1`, id))
	if err == nil && p.Closed {
		return p, errNoUser
	}
	return p, err
}

// findAccount returns the user of an account, if it was here once.
func findAccount(tx *db.Tx, name account.Name) (person, bool, error) {
	p, err := scanPerson(tx.Row(`SELECT `+personColumns+` FROM rocketchat_user WHERE account = $1`, name))
	if errors.Is(err, errNoUser) {
		return p, false, nil
	}
	return p, err == nil, err
}

// personOf returns the user of an account that exists, and makes its id if it has
// none yet.
func (s *rcServer) personOf(tx *db.Tx, name account.Name) (person, error) {
	p, found, err := findAccount(tx, name)
	if err != nil || found {
		if p.Closed {
			return p, errNoUser
		}
		return p, err
	}
	if there, err := account.Exists(tx, name); err != nil || !there || strings.ContainsAny(string(name), "=/+") {
		return p, errors.Join(err, errNoUser)
	}
	id, err := rocketchat.NewID(s.Rand)
	if err != nil {
		return p, err
	}
	p = person{ID: id, Name: name}
	return p, tx.Queue(`INSERT INTO rocketchat_user (id, account, public, private, closed) VALUES ($1, $2, '', '', $3)`, id, name, false)
}

// lookup returns a user by name or by id.
func (s *rcServer) lookup(tx *db.Tx, id, name string) (person, error) {
	if id != "" {
		return getPerson(tx, id)
	}
	name = strings.ToLower(strings.TrimPrefix(name, "@"))
	if _, err := account.ParseName(name); err != nil {
		return person{}, errNoUser
	}
	return s.personOf(tx, account.Name(name))
}

func (s *rcServer) userCalls() {
	s.get("me", func(c *call) (any, error) {
		return answer{"_id": c.me.ID, "username": c.me.Name, "name": c.me.Name, "status": "online", "active": true, "roles": []string{"user"}, "type": "user", "settings": answer{}}, nil
	})
	s.get("users.info", func(c *call) (any, error) {
		var p person
		err := c.Update(c.ctx, func(tx *db.Tx) (err error) {
			p, err = c.lookup(tx, c.query.Get("userId"), c.query.Get("username"))
			return err
		})
		return answer{"user": p.shown()}, err
	})
	s.get("users.autocomplete", (*call).autocomplete)
	s.get("users.presence", func(c *call) (any, error) { return answer{"users": []any{}, "full": false}, nil })
	s.ddp("spotlight", func(c *call) (any, error) {
		var term string
		if err := c.texts(&term); err != nil {
			return nil, err
		}
		found, err := c.search(term)
		return answer{"users": found, "rooms": []any{}}, err
	})
}

// maxFound bounds what a search for users gives.
const maxFound = 20

func (c *call) search(term string) ([]wire.User, error) {
	found := []wire.User{}
	if term == "" || len(term) > 128 {
		return found, nil
	}
	err := c.Update(c.ctx, func(tx *db.Tx) error {
		names, err := account.Search(tx, strings.ToLower(term), "displayname", maxFound)
		if err != nil {
			return err
		}
		for _, n := range names {
			p, err := c.personOf(tx, n)
			if errors.Is(err, errNoUser) {
				continue
			}
			if err != nil {
				return err
			}
			found = append(found, p.shown())
		}
		return nil
	})
	return found, err
}

func (c *call) autocomplete() (any, error) {
	var q struct {
		Term string `json:"term"`
	}
	if err := strictLoose([]byte(c.query.Get("selector")), &q); err != nil {
		return nil, err
	}
	found, err := c.search(q.Term)
	return answer{"items": found}, err
}
