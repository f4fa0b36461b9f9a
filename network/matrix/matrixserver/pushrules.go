package matrixserver

import (
	"encoding/json"
	"errors"
	"net/http"

	"github.com/quinta-chat/quinta/network/matrix/matrixserver/push"
	"github.com/quinta-chat/quinta/network/matrix/matrixserver/pushrule"
	"github.com/quinta-chat/quinta/network/matrix/wire"
	"github.com/quinta-chat/quinta/server/db"
	"github.com/quinta-chat/quinta/server/feed"
)

func (s *homeserver) pushRuleCalls() {
	s.client(http.MethodGet, "/pushrules", endpoint{rate: rateRead, handle: (*call).getPushRules})
	s.client(http.MethodGet, "/pushrules/", endpoint{rate: rateRead, handle: (*call).getPushRules})
	s.client(http.MethodGet, "/pushrules/global", endpoint{rate: rateRead, handle: (*call).getGlobalPushRules})
	s.client(http.MethodGet, "/pushrules/global/", endpoint{rate: rateRead, handle: (*call).getGlobalPushRules})
	s.client(http.MethodGet, "/pushrules/global/{kind}", endpoint{rate: rateRead, handle: (*call).getPushRuleKind})
	s.client(http.MethodGet, "/pushrules/global/{kind}/", endpoint{rate: rateRead, handle: (*call).getPushRuleKind})
	const rule = "/pushrules/global/{kind}/{ruleId}"
	s.client(http.MethodGet, rule, endpoint{rate: rateRead, handle: (*call).getPushRule})
	s.client(http.MethodPut, rule, endpoint{rate: rateWrite, body: maxBody, handle: (*call).putPushRule})
	s.client(http.MethodDelete, rule, endpoint{rate: rateWrite, body: maxBody, handle: (*call).deletePushRule})
	s.client(http.MethodGet, rule+"/enabled", endpoint{rate: rateRead, handle: (*call).getPushRuleEnabled})
	s.client(http.MethodPut, rule+"/enabled", endpoint{rate: rateWrite, body: maxBody, handle: (*call).putPushRuleEnabled})
	s.client(http.MethodGet, rule+"/actions", endpoint{rate: rateRead, handle: (*call).getPushRuleActions})
	s.client(http.MethodPut, rule+"/actions", endpoint{rate: rateWrite, body: maxBody, handle: (*call).putPushRuleActions})
}

func (c *call) ownRules() (pushrule.RuleSet, error) {
	var rs pushrule.RuleSet
	err := c.View(c.ctx(), func(tx *db.Tx) error {
		set, _, err := push.RulesOf(tx, c.user)
		if err == nil {
			rs = set.Rules(string(c.user))
		}
		return err
	})
	return rs, err
}

// getPushRules: "GET /pushrules/".
func (c *call) getPushRules() (any, error) {
	rs, err := c.ownRules()
	return map[string]any{"global": rs}, err
}

// getGlobalPushRules: "GET /pushrules/global/".
func (c *call) getGlobalPushRules() (any, error) {
	return c.ownRules()
}

// getPushRuleKind returns the rules of one kind.
func (c *call) getPushRuleKind() (any, error) {
	rs, err := c.ownRules()
	if err != nil {
		return nil, err
	}
	if list := rs.Of(pushrule.Kind(c.path("kind"))); list != nil {
		return list, nil
	}
	return nil, errNoRule()
}

func errNoRule() error {
	return wire.NewError(http.StatusNotFound, wire.CodeNotFound, "there is no such push rule")
}

func (c *call) findRule() (pushrule.Rule, error) {
	rs, err := c.ownRules()
	if err != nil {
		return pushrule.Rule{}, err
	}
	for _, r := range rs.Of(pushrule.Kind(c.path("kind"))) {
		if r.RuleID == c.path("ruleId") {
			return r, nil
		}
	}
	return pushrule.Rule{}, errNoRule()
}

// getPushRule: "GET /pushrules/global/{kind}/{ruleId}".
func (c *call) getPushRule() (any, error) { return c.findRule() }

// getPushRuleEnabled: "GET /pushrules/global/{kind}/{ruleId}/enabled".
func (c *call) getPushRuleEnabled() (any, error) {
	r, err := c.findRule()
	return map[string]bool{"enabled": r.Enabled}, err
}

// getPushRuleActions: "GET /pushrules/global/{kind}/{ruleId}/actions".
func (c *call) getPushRuleActions() (any, error) {
	r, err := c.findRule()
	return map[string]any{"actions": r.Actions}, err
}

// changeRules edits the caller's rules and notifies their devices.
func (c *call) changeRules(edit func(*pushrule.Set) error) (any, error) {
	return empty{}, c.Update(c.ctx(), func(tx *db.Tx) error {
		set, _, err := push.RulesOf(tx, c.user)
		if err != nil {
			return err
		}
		if err := edit(set); err != nil {
			return ruleError(err)
		}
		feed.Bump(tx, feed.User(network, c.user))
		return push.SetRules(tx, c.user, set)
	})
}

func ruleError(err error) error {
	switch {
	case errors.Is(err, pushrule.ErrNotFound):
		return errNoRule()
	case errors.Is(err, pushrule.ErrTooMany):
		return wire.NewError(http.StatusBadRequest, wire.CodeTooLarge, "too many push rules")
	case errors.Is(err, pushrule.ErrDefault), errors.Is(err, pushrule.ErrInvalid):
		return wire.NewError(http.StatusBadRequest, wire.CodeInvalidParam, err.Error())
	}
	return err
}

// putPushRule: "PUT /pushrules/global/{kind}/{ruleId}".
func (c *call) putPushRule() (any, error) {
	r := pushrule.Rule{}
	if err := c.decode(&r); err != nil {
		return nil, err
	}
	r.RuleID = c.path("ruleId")
	return c.changeRules(func(s *pushrule.Set) error {
		return s.Put(pushrule.Kind(c.path("kind")), r, c.param("before"), c.param("after"))
	})
}

// deletePushRule: "DELETE /pushrules/global/{kind}/{ruleId}".
func (c *call) deletePushRule() (any, error) {
	return c.changeRules(func(s *pushrule.Set) error {
		return s.Delete(pushrule.Kind(c.path("kind")), c.path("ruleId"))
	})
}

// putPushRuleEnabled: "PUT /pushrules/global/{kind}/{ruleId}/enabled".
func (c *call) putPushRuleEnabled() (any, error) {
	var q struct {
		Enabled *bool `json:"enabled"`
	}
	if err := c.decode(&q); err != nil {
		return nil, err
	}
	if q.Enabled == nil {
		return nil, wire.NewError(http.StatusBadRequest, wire.CodeMissingParam, "enabled must be true or false")
	}
	return c.changeRules(func(s *pushrule.Set) error {
		return s.SetEnabled(pushrule.Kind(c.path("kind")), c.path("ruleId"), *q.Enabled)
	})
}

// putPushRuleActions: "PUT /pushrules/global/{kind}/{ruleId}/actions".
func (c *call) putPushRuleActions() (any, error) {
	var q struct {
		Actions []json.RawMessage `json:"actions"`
	}
	if err := c.decode(&q); err != nil {
		return nil, err
	}
	if q.Actions == nil {
		return nil, wire.NewError(http.StatusBadRequest, wire.CodeMissingParam, "which actions?")
	}
	return c.changeRules(func(s *pushrule.Set) error {
		return s.SetActions(pushrule.Kind(c.path("kind")), c.path("ruleId"), q.Actions)
	})
}
