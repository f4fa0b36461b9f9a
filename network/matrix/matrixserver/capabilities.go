package matrixserver

import (
	"net/http"

	"github.com/quinta-chat/quinta/network/matrix/matrixserver/eventauth"
)

func (s *homeserver) capabilityCalls() {
	s.client(http.MethodGet, "/capabilities", endpoint{rate: rateRead, handle: (*call).getCapabilities})
	s.client(http.MethodGet, "/thirdparty/protocols", endpoint{rate: rateRead, handle: (*call).getNone})
	s.client(http.MethodGet, "/voip/turnServer", endpoint{rate: rateRead, handle: (*call).getNone})
	s.client(http.MethodGet, "/account/3pid", endpoint{rate: rateRead, handle: (*call).getThreePIDs})
}

// getCapabilities: "GET /capabilities".
func (c *call) getCapabilities() (any, error) {
	type toggle struct {
		Enabled bool `json:"enabled"`
	}
	return map[string]any{"capabilities": map[string]any{
		"m.room_versions":            eventauth.Versions(),
		"m.change_password":          toggle{true},
		"m.set_displayname":          toggle{true},
		"m.set_avatar_url":           toggle{true},
		"m.profile_fields":           toggle{true},
		"m.3pid_changes":             toggle{false},
		"m.get_login_token":          toggle{false},
		"m.forget_forced_upon_leave": toggle{false},
	}}, nil
}

// getNone answers calls about what this server does not have, in the form
// that the specification gives for none: bridges, relays for calls.
func (c *call) getNone() (any, error) { return empty{}, nil }

// getThreePIDs: "GET /account/3pid": this server knows no addresses.
func (c *call) getThreePIDs() (any, error) {
	return map[string]any{"threepids": []string{}}, nil
}
