package push

import (
	"encoding/json"
	"errors"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/network/matrix/matrixserver/pushrule"
	"github.com/quinta-chat/quinta/server/db"
)

// RulesOf returns the user's changes to the predefined rules, and when they
// last changed; zero if never.
func RulesOf(tx *db.Tx, user quinta.UserID) (*pushrule.Set, quinta.Pos, error) {
	var body []byte
	var pos quinta.Pos
	set := &pushrule.Set{}
	err := tx.Row(`SELECT body, pos FROM matrix_pushrule WHERE user_id = $1`, user).Scan(&body, &pos)
	if errors.Is(err, db.ErrNoRows) {
		return set, 0, nil
	}
	if err == nil {
		err = json.Unmarshal(body, set)
	}
	return set, pos, err
}

// maxRuleBytes bounds the rules of one user together, in bytes: they are read for
// each event that concerns the user.
const maxRuleBytes = 256 << 10

// SetRules stores the user's changes to the predefined rules.
func SetRules(tx *db.Tx, user quinta.UserID, set *pushrule.Set) error {
	body, err := json.Marshal(set)
	if err != nil {
		return err
	}
	if len(body) > maxRuleBytes {
		return quinta.E(quinta.KindTooLarge, "push rules", "the push rules are too large together")
	}
	return tx.Queue(`INSERT INTO matrix_pushrule (user_id, body, pos) VALUES ($1, $2, $3)
		ON CONFLICT (user_id) DO UPDATE SET body = excluded.body, pos = excluded.pos`, user, body, tx.NextPos())
}

// Rules returns the whole rule set of a user as clients see it, the
// content of m.push_rules, and the position of its last change.
func (*Judge) Rules(tx *db.Tx, user quinta.UserID) (any, quinta.Pos, error) {
	set, pos, err := RulesOf(tx, user)
	if err != nil {
		return nil, 0, err
	}
	return map[string]pushrule.RuleSet{"global": set.Rules(string(user))}, pos, nil
}
