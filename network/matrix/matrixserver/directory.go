package matrixserver

import (
	"encoding/json"
	"net/http"
	"strings"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/network/matrix/wire"
	"github.com/quinta-chat/quinta/server/account"
	"github.com/quinta-chat/quinta/server/db"
)

func (s *homeserver) userDirectoryCalls() {
	s.client(http.MethodPost, "/user_directory/search", endpoint{rate: rateWrite, body: maxBody, handle: (*call).postUserSearch})
}

// maxUserResults bounds the answers of the user directory.
const maxUserResults = 50

type foundUser struct {
	UserID quinta.UserID   `json:"user_id"`
	Name   json.RawMessage `json:"display_name,omitempty"`
	Avatar json.RawMessage `json:"avatar_url,omitempty"`
}

// postUserSearch: "POST /user_directory/search". On a server of one
// organisation, or of friends, everyone may find everyone: the user id or the
// display name holds the term, in any case.
func (c *call) postUserSearch() (any, error) {
	q := struct {
		Term  *string `json:"search_term"`
		Limit int     `json:"limit"`
	}{Limit: 10}
	if err := c.decode(&q); err != nil {
		return nil, err
	}
	if q.Term == nil {
		return nil, wire.NewError(http.StatusBadRequest, wire.CodeMissingParam, "which search_term?")
	}
	if q.Limit < 1 || q.Limit > maxUserResults {
		q.Limit = maxUserResults
	}
	term := strings.TrimSuffix(strings.TrimPrefix(strings.TrimSpace(*q.Term), "@"), ":"+c.Core.Name)
	found := []foundUser{}
	more := false
	err := c.View(c.ctx(), func(tx *db.Tx) error {
		names, err := account.Search(tx, term, fieldName, q.Limit+1)
		if err != nil {
			return err
		}
		if len(names) > q.Limit {
			names, more = names[:q.Limit], true
		}
		for _, n := range names {
			p, err := account.Profile(tx, n)
			if err != nil {
				return err
			}
			found = append(found, foundUser{UserID: wire.UserID(string(n), c.Core.Name), Name: p[fieldName], Avatar: p[fieldAvatar]})
		}
		return nil
	})
	return map[string]any{"results": found, "limited": more}, err
}
