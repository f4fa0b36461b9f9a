package wire

import (
	"encoding/xml"
	"time"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/e2ee/keysrv"
	"mellium.im/xmpp/jid"
	"mellium.im/xmpp/stanza"
)

// Namespaces of the elements.
const (
	// NSEncrypted is the namespace of the packet.
	NSEncrypted = "jabber:encrypted"
	// NSKeys is the namespace of tokens and hints, and the feature by which
	// the component is found.
	NSKeys     = "urn:quinta:keysrv:0"
	nsHints    = "urn:xmpp:hints"
	nsEME      = "urn:xmpp:eme:0"
	nsDelay    = "urn:xmpp:delay"
	nsStanzaID = "urn:xmpp:sid:0"
	nsForward  = "urn:xmpp:forward:0"
	NSCarbons  = "urn:xmpp:carbons:2"
	NSArchive  = "urn:xmpp:mam:2"
	nsRSM      = "http://jabber.org/protocol/rsm"
	NSItems    = "http://jabber.org/protocol/disco#items"
	NSInfo     = "http://jabber.org/protocol/disco#info"
	NSPing     = "urn:xmpp:ping"
	// NSManaged is the namespace of stream management.
	NSManaged = "urn:xmpp:sm:3"
)

// MaxStanza bounds a stanza in bytes: a payload in base64 and what is around it.
const MaxStanza = 512 << 10

// An Encrypted is the packet in a stanza.
type Encrypted struct {
	XMLName  xml.Name `xml:"jabber:encrypted encrypted"`
	ObjectID string   `xml:"objectid,attr"`
	Text     string   `xml:",chardata"`
}

// A Store is the hint that archives keep the stanza (XEP-0334).
type Store struct {
	XMLName xml.Name `xml:"urn:xmpp:hints store"`
}

// An Encryption names the encryption for clients that do not know it
// (XEP-0380).
type Encryption struct {
	XMLName   xml.Name `xml:"urn:xmpp:eme:0 encryption"`
	Namespace string   `xml:"namespace,attr"`
}

// A Sent is a message on its way out.
type Sent struct {
	XMLName    xml.Name           `xml:"message"`
	ID         string             `xml:"id,attr"`
	To         jid.JID            `xml:"to,attr"`
	Type       stanza.MessageType `xml:"type,attr"`
	Encrypted  Encrypted
	Store      Store
	Encryption Encryption
}

// NewSent makes the stanza of a packet for a user or, if group is set, for a room.
func NewSent(id quinta.MessageID, to jid.JID, group bool, p *keysrv.Packet) *Sent {
	kind := stanza.ChatMessage
	if group {
		kind = stanza.GroupChatMessage
	}
	return &Sent{ID: string(id), To: to, Type: kind, Encrypted: Encrypted{ObjectID: p.ObjectID, Text: p.Text()}, Encryption: Encryption{Namespace: NSEncrypted}}
}

// An Inviting is an invitation on its way out.
type Inviting struct {
	XMLName xml.Name `xml:"message"`
	ID      string   `xml:"id,attr"`
	To      jid.JID  `xml:"to,attr"`
	Invite  Invite
	Store   Store
}

// A Message is a message as it comes: with a packet, a hint of the component, a
// carbon, or a result of the archive.
type Message struct {
	XMLName   xml.Name           `xml:"message"`
	ID        string             `xml:"id,attr"`
	To        string             `xml:"to,attr"`
	From      string             `xml:"from,attr"`
	Type      stanza.MessageType `xml:"type,attr"`
	Encrypted *Encrypted         `xml:"jabber:encrypted encrypted"`
	Delay     *Delay             `xml:"urn:xmpp:delay delay"`
	StanzaIDs []StanzaID         `xml:"urn:xmpp:sid:0 stanza-id"`
	Hint      *Hint              `xml:"urn:quinta:keysrv:0 hint"`
	// Room is what a room says of itself, or in its archive of the sender.
	Room   []RoomNotice `xml:"http://jabber.org/protocol/muc#user x"`
	Invite *Invite      `xml:"jabber:x:conference x"`
	// Received and SentOut are carbons (XEP-0280).
	Received *Carbon `xml:"urn:xmpp:carbons:2 received"`
	SentOut  *Carbon `xml:"urn:xmpp:carbons:2 sent"`
	// Result is one message of the archive (XEP-0313).
	Result *Result `xml:"urn:xmpp:mam:2 result"`
}

// A Delay says when a server took a message in (XEP-0203).
type Delay struct {
	Stamp string `xml:"stamp,attr"`
}

// Time is the time of a delay, or zero.
func (d *Delay) Time() time.Time {
	if d == nil {
		return time.Time{}
	}
	t, err := time.Parse(time.RFC3339Nano, d.Stamp)
	if err != nil {
		return time.Time{}
	}
	return t.UTC()
}

// A StanzaID is the id under which an archive has a message (XEP-0359).
type StanzaID struct {
	ID string `xml:"id,attr"`
	By string `xml:"by,attr"`
}

// A Hint is what the component tells a user: that others wait for copies of
// keys, or that someone's devices have changed.
type Hint struct {
	XMLName xml.Name `xml:"urn:quinta:keysrv:0 hint"`
	Wants   bool     `xml:"wants,attr,omitempty"`
	Changed string   `xml:"changed,attr,omitempty"`
}

// A Carbon holds a message that another device got or sent.
type Carbon struct {
	Forwarded Forwarded `xml:"urn:xmpp:forward:0 forwarded"`
}

// A Forwarded is a message inside of another one (XEP-0297).
type Forwarded struct {
	Delay   *Delay   `xml:"urn:xmpp:delay delay"`
	Message *Message `xml:"jabber:client message"`
}

// A Result is one message of the archive.
type Result struct {
	ID        string    `xml:"id,attr"`
	QueryID   string    `xml:"queryid,attr"`
	Forwarded Forwarded `xml:"urn:xmpp:forward:0 forwarded"`
}

// An ArchiveQuery asks for a page of the archive, after an id.
type ArchiveQuery struct {
	XMLName xml.Name `xml:"urn:xmpp:mam:2 query"`
	QueryID string   `xml:"queryid,attr"`
	Set     pageSet
}

type pageSet struct {
	XMLName xml.Name `xml:"http://jabber.org/protocol/rsm set"`
	Max     int      `xml:"max"`
	After   string   `xml:"after,omitempty"`
}

// NewArchiveQuery asks for up to max messages after an id; all from the first
// if it is empty.
func NewArchiveQuery(queryID, after string, max int) *ArchiveQuery {
	return &ArchiveQuery{QueryID: queryID, Set: pageSet{Max: max, After: after}}
}

// A Fin ends a page of the archive.
type Fin struct {
	XMLName  xml.Name `xml:"urn:xmpp:mam:2 fin"`
	Complete bool     `xml:"complete,attr"`
	Last     string   `xml:"http://jabber.org/protocol/rsm set>last"`
}

// A Token is the request for a token and its answer.
type Token struct {
	XMLName xml.Name `xml:"urn:quinta:keysrv:0 token"`
	// Thumbprint is that of the device's key, in the request.
	Thumbprint string `xml:"jkt,attr,omitempty"`
	// Href is the address of the calls, Expires and Now are times of the key
	// server in RFC 3339, and Value is the token, in the answer.
	Href    string `xml:"href,attr,omitempty"`
	Expires string `xml:"expires,attr,omitempty"`
	Now     string `xml:"now,attr,omitempty"`
	Value   string `xml:",chardata"`
}

// Managed is one of the elements of stream management (XEP-0198) as it comes.
type Managed struct {
	H      uint32 `xml:"h,attr"`
	ID     string `xml:"id,attr"`
	Resume bool   `xml:"resume,attr"`
}

// A Count says how many stanzas of a stream were handled.
type Count struct {
	XMLName xml.Name `xml:"urn:xmpp:sm:3 a"`
	H       uint32   `xml:"h,attr"`
}

// NewCount acknowledges h stanzas.
func NewCount(h uint32) *Count { return &Count{H: h} }

// Info is an answer to disco#info (XEP-0030).
type Info struct {
	XMLName    xml.Name   `xml:"http://jabber.org/protocol/disco#info query"`
	Identities []Identity `xml:"identity"`
	Features   []Feature  `xml:"feature"`
}

// An Identity says what an entity is.
type Identity struct {
	Category string `xml:"category,attr"`
	Type     string `xml:"type,attr"`
	Name     string `xml:"name,attr,omitempty"`
}

// A Feature is something that an entity can do.
type Feature struct {
	Var string `xml:"var,attr"`
}

// Has reports whether a feature is listed.
func (i *Info) Has(feature string) bool {
	for _, f := range i.Features {
		if f.Var == feature {
			return true
		}
	}
	return false
}

// Items is an answer to disco#items.
type Items struct {
	XMLName xml.Name `xml:"http://jabber.org/protocol/disco#items query"`
	Items   []struct {
		JID string `xml:"jid,attr"`
	} `xml:"item"`
}
