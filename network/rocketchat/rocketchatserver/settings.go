package rocketchatserver

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"slices"
	"strings"
)

// A setting is one public setting as clients read it.
type setting struct {
	ID    string `json:"_id"`
	Value any    `json:"value"`
}

// public are the settings that clients read, as today's servers have them.
func (s *rcServer) public() []setting {
	return []setting{
		{"Accounts_RegistrationForm", map[bool]string{true: "Public", false: "Disabled"}[s.Registration == "open"]},
		{"E2E_Allow_Unencrypted_Messages", false},
		{"E2E_Enable", true},
		{"E2E_Enable_Encrypt_Files", true},
		{"E2E_Enabled_Default_DirectRooms", true},
		{"E2E_Enabled_Default_PrivateRooms", true},
		{"E2E_Enabled_Mentions", false},
		{"E2E_Force_Encryption_For_Private_Rooms", s.Setting(settingForce) == "on"},
		{"FileUpload_Enabled", true},
		{"FileUpload_MaxFileSize", s.MaxUpload},
		{"Message_AllowDeleting", true},
		{"Message_AllowEditing", true},
		{"Message_MaxAllowedSize", maxText},
		{"OTR_Enable", s.otr()},
		{"Push_enable", s.pushes()},
		{"Site_Name", s.Name},
		{"Site_Url", s.PublicURL},
		{"UTF8_User_Names_Validation", "[0-9a-z-_.]+"},
		{"uniqueID", s.uniqueID()},
	}
}

// uniqueID names the workspace; it is made of the server's name, which never changes.
func (s *rcServer) uniqueID() string {
	sum := sha256.Sum256([]byte("quinta rocketchat workspace\x00" + s.Name))
	return hex.EncodeToString(sum[:12])
}

func (s *rcServer) settingCalls() {
	s.rest["GET settings.public"] = endpoint{open: true, rate: rateOpen, handle: (*call).publicSettings}
	s.rest["GET settings.oauth"] = endpoint{open: true, rate: rateOpen, handle: func(*call) (any, error) { return answer{"services": []any{}}, nil }}
	s.methods["public-settings/get"] = method{open: true, rate: rateOpen, handle: func(c *call) (any, error) {
		return c.public(), nil
	}}
}

// publicSettings answers all settings, or those that _id= (ids with commas) or
// query= ({"_id":"..."} or {"_id":{"$in":[...]}}) asks for.
func (c *call) publicSettings() (any, error) {
	var want []string
	if ids := c.query.Get("_id"); ids != "" {
		want = strings.Split(ids, ",")
	}
	if q := c.query.Get("query"); q != "" && q != "{}" {
		var one struct {
			ID json.RawMessage `json:"_id"`
		}
		if err := strictLoose([]byte(q), &one); err != nil {
			return nil, err
		}
		var text string
		var many struct {
			In []string `json:"$in"`
		}
		switch {
		case json.Unmarshal(one.ID, &text) == nil:
			want = append(want, text)
		case json.Unmarshal(one.ID, &many) == nil:
			want = append(want, many.In...)
		default:
			return nil, invalid("this query is not supported")
		}
	}
	all := c.public()
	if want != nil {
		all = slices.DeleteFunc(all, func(s setting) bool { return !slices.Contains(want, s.ID) })
	}
	return answer{"settings": all, "count": len(all), "offset": 0, "total": len(all)}, nil
}
