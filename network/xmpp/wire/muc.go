package wire

import (
	"encoding/xml"
	"slices"
)

// Namespaces of rooms (XEP-0045) and invitations (XEP-0249).
const (
	NSMUC      = "http://jabber.org/protocol/muc"
	NSMUCUser  = "http://jabber.org/protocol/muc#user"
	NSMUCAdmin = "http://jabber.org/protocol/muc#admin"
	NSMUCOwner = "http://jabber.org/protocol/muc#owner"
	nsForm     = "jabber:x:data"
	nsInvite   = "jabber:x:conference"
)

// Features of a room, in the answer to disco#info.
const (
	FeatureMembersOnly  = "muc_membersonly"
	FeatureNonAnonymous = "muc_nonanonymous"
)

// An Affiliation is what someone is in a room.
type Affiliation string

// The affiliations.
const (
	Owner  Affiliation = "owner"
	Admin  Affiliation = "admin"
	Member Affiliation = "member"
	None   Affiliation = "none"
)

// Belongs reports whether someone with the affiliation may be in a members-only
// room.
func (a Affiliation) Belongs() bool { return a == Owner || a == Admin || a == Member }

// MemberAffiliations are those of the users who may be in a members-only room.
var MemberAffiliations = []Affiliation{Owner, Admin, Member}

// An Occupant is an item of the lists and notices of a room.
type Occupant struct {
	JID         string      `xml:"jid,attr,omitempty"`
	Nick        string      `xml:"nick,attr,omitempty"`
	Affiliation Affiliation `xml:"affiliation,attr,omitempty"`
	Reason      string      `xml:"reason,omitempty"`
}

// An AdminQuery asks for, answers with or changes a list of a room.
type AdminQuery struct {
	XMLName xml.Name   `xml:"http://jabber.org/protocol/muc#admin query"`
	Items   []Occupant `xml:"item"`
}

// A Join is the element by which a presence enters a room. No history is
// requested: the archive has it.
type Join struct {
	XMLName xml.Name `xml:"http://jabber.org/protocol/muc x"`
	History struct {
		MaxStanzas int `xml:"maxstanzas,attr"`
	} `xml:"history"`
}

// A RoomNotice is what a room says of an occupant or of itself.
type RoomNotice struct {
	Items  []Occupant `xml:"item"`
	Status []struct {
		Code int `xml:"code,attr"`
	} `xml:"status"`
}

// The status codes of XEP-0045 that matter here.
const (
	StatusSelf    = 110
	statusConfig  = 104
	statusNonAnon = 172
	statusSemi    = 173
	statusAnon    = 174
)

// Has reports whether a status code is there.
func (n *RoomNotice) Has(code int) bool {
	return slices.ContainsFunc(n.Status, func(s struct {
		Code int `xml:"code,attr"`
	}) bool {
		return s.Code == code
	})
}

// Changed reports whether the configuration of the room has changed.
func (n *RoomNotice) Changed() bool {
	return n.Has(statusConfig) || n.Has(statusNonAnon) || n.Has(statusSemi) || n.Has(statusAnon)
}

// A Presence is a presence as it comes from a room.
type Presence struct {
	XMLName xml.Name    `xml:"presence"`
	From    string      `xml:"from,attr"`
	Type    string      `xml:"type,attr"`
	Room    *RoomNotice `xml:"http://jabber.org/protocol/muc#user x"`
	Error   *struct {
		Inner []byte `xml:",innerxml"`
	} `xml:"error"`
}

// An Invite asks a user to join a room.
type Invite struct {
	XMLName xml.Name `xml:"jabber:x:conference x"`
	JID     string   `xml:"jid,attr"`
}

// A Form is a data form (XEP-0004) of a room.
type Form struct {
	XMLName xml.Name `xml:"jabber:x:data x"`
	Type    string   `xml:"type,attr"`
	Fields  []Field  `xml:"field"`
}

// A Field is one field of a form.
type Field struct {
	Var    string   `xml:"var,attr"`
	Values []string `xml:"value"`
}

// An OwnerQuery asks for the configuration of a room, or changes it.
type OwnerQuery struct {
	XMLName xml.Name `xml:"http://jabber.org/protocol/muc#owner query"`
	Form    *Form
}

// roomConfig is what a room of ours is, by the fields of the servers.
var roomConfig = map[string]string{
	"muc#roomconfig_membersonly":     "1",
	"muc#roomconfig_whois":           "anyone",
	"muc#roomconfig_persistentroom":  "1",
	"muc#roomconfig_publicroom":      "0",
	"muc#roomconfig_allowinvites":    "0",
	"muc#roomconfig_enablearchiving": "1",
	"mam":                            "1",
}

// Configured answers the form of a new room: members only, everyone's JID
// known, persistent, archived. Only fields that the form has are sent, since
// servers refuse others.
func (f *Form) Configured(name string) *Form {
	out := &Form{Type: "submit"}
	for _, have := range f.Fields {
		switch value, ours := roomConfig[have.Var]; {
		case have.Var == "FORM_TYPE":
			out.Fields = append(out.Fields, have)
		case have.Var == "muc#roomconfig_roomname" && name != "":
			out.Fields = append(out.Fields, Field{Var: have.Var, Values: []string{name}})
		case ours:
			out.Fields = append(out.Fields, Field{Var: have.Var, Values: []string{value}})
		}
	}
	return out
}
