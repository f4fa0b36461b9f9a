// Package wire defines what a client and a server of MTProto 2.0 exchange, as
// far as secret chats need it: the objects of the schema, the framing of
// packets on a TCP connection, and the encryption of messages under an
// authorization key.
//
// Both halves share it. [Schema] is the set of objects, [Dial] and [Accept]
// begin a connection, [AuthKey] seals and opens messages. The objects are those
// of API layer 228; their names and numbers come from the schema.
package wire

import "github.com/quinta-chat/quinta/internal/tl"

// APILayer is the layer of the objects in this package.
const APILayer = 228

// Schema knows every object of this package.
var Schema = tl.NewSchema(append(serviceObjects, apiObjects...)...)
