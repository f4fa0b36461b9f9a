package matrixserver

import (
	"crypto/sha256"
	"encoding/json"
	"errors"
	"net/http"
	"strconv"
	"strings"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/internal/canonicaljson"
	"github.com/quinta-chat/quinta/network/matrix/matrixserver/filter"
	"github.com/quinta-chat/quinta/network/matrix/wire"
	"github.com/quinta-chat/quinta/server/db"
)

func (s *homeserver) filterCalls() {
	s.client(http.MethodPost, "/user/{userId}/filter", endpoint{rate: rateWrite, body: filter.MaxSize, handle: (*call).postFilter})
	s.client(http.MethodGet, "/user/{userId}/filter/{filterId}", endpoint{rate: rateRead, handle: (*call).getFilter})
}

// maxFilters bounds the filters that a user may upload.
const maxFilters = 1000

// filterError turns an error of the filter package into the network's.
func filterError(err error) error {
	if errors.Is(err, filter.ErrInvalid) {
		return wire.NewError(http.StatusBadRequest, wire.CodeBadJSON, strings.TrimPrefix(err.Error(), "filter: "))
	}
	return err
}

// postFilter: "POST /user/{userId}/filter". Filters that say the same have
// one id.
func (c *call) postFilter() (any, error) {
	if err := c.mine(); err != nil {
		return nil, err
	}
	body, err := c.event()
	if err != nil {
		return nil, err
	}
	if _, err := filter.Parse(body); err != nil {
		return nil, filterError(err)
	}
	canonical, err := canonicaljson.Canonical(body)
	if err != nil {
		return nil, err
	}
	hash := sha256.Sum256(canonical)
	var id int64
	err = c.View(c.ctx(), func(tx *db.Tx) (err error) {
		id, err = filterID(tx, c.user, hash[:])
		return err
	})
	if err != nil {
		return nil, err
	}
	if id == 0 {
		err = c.Update(c.ctx(), func(tx *db.Tx) (err error) {
			id, err = addFilter(tx, c.user, hash[:], body)
			return err
		})
	}
	return map[string]string{"filter_id": strconv.FormatInt(id, 10)}, err
}

// filterID returns the id of a stored filter, 0 if there is none.
func filterID(tx *db.Tx, user quinta.UserID, hash []byte) (int64, error) {
	var id int64
	err := tx.Row(`SELECT id FROM matrix_filter WHERE user_id = $1 AND hash = $2`, user, hash).Scan(&id)
	if errors.Is(err, db.ErrNoRows) {
		err = nil
	}
	return id, err
}

func addFilter(tx *db.Tx, user quinta.UserID, hash, body []byte) (int64, error) {
	id, err := filterID(tx, user, hash)
	if err != nil || id != 0 {
		return id, err
	}
	var last int64
	if err := tx.Row(`SELECT COALESCE(MAX(id), 0) FROM matrix_filter WHERE user_id = $1`, user).Scan(&last); err != nil {
		return 0, err
	}
	if last >= maxFilters {
		return 0, quinta.E(quinta.KindLimited, "filter", "too many filters: use one of those uploaded before")
	}
	err = tx.Queue(`INSERT INTO matrix_filter (user_id, id, hash, body) VALUES ($1, $2, $3, $4)`, user, last+1, hash, body)
	return last + 1, err
}

// getFilter: "GET /user/{userId}/filter/{filterId}".
func (c *call) getFilter() (any, error) {
	if err := c.mine(); err != nil {
		return nil, err
	}
	var body json.RawMessage
	err := c.View(c.ctx(), func(tx *db.Tx) (err error) {
		body, err = loadFilter(tx, c.user, c.path("filterId"))
		return err
	})
	return body, err
}

// loadFilter returns the JSON of a filter that the user uploaded, or an error
// of KindNotFound.
func loadFilter(tx *db.Tx, user quinta.UserID, id string) (json.RawMessage, error) {
	none := quinta.E(quinta.KindNotFound, "filter", "there is no such filter")
	n, err := strconv.ParseInt(id, 10, 64)
	if err != nil || n <= 0 {
		return nil, none
	}
	var body json.RawMessage
	err = tx.Row(`SELECT body FROM matrix_filter WHERE user_id = $1 AND id = $2`, user, n).Scan(&body)
	if errors.Is(err, db.ErrNoRows) {
		err = none
	}
	return body, err
}

// clearFilters removes the filters of a user whose account ends.
func clearFilters(tx *db.Tx, user quinta.UserID) error {
	return tx.Queue(`DELETE FROM matrix_filter WHERE user_id = $1`, user)
}

// syncFilter returns the filter that a sync names: JSON in place, or the id
// of one that was uploaded.
func (c *call) syncFilter() (*filter.Filter, error) {
	text := c.param("filter")
	switch {
	case text == "":
		return new(filter.Filter), nil
	case text[0] != '{':
		var body json.RawMessage
		err := c.View(c.ctx(), func(tx *db.Tx) (err error) {
			body, err = loadFilter(tx, c.user, text)
			return err
		})
		if err != nil && quinta.KindOf(err) == quinta.KindNotFound {
			return nil, wire.NewError(http.StatusBadRequest, wire.CodeInvalidParam, "there is no such filter")
		}
		if err != nil {
			return nil, err
		}
		text = string(body)
	}
	f, err := filter.Parse([]byte(text))
	return f, filterError(err)
}
