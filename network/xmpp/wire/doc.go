// Package wire defines the wire format of the XMPP network, shared by the
// client and the server half: the calls of the key server below /xmpp/v1, with
// their JSON, and the elements that travel in stanzas.
//
// The formats of key objects, devices and proofs are in package e2ee/keysrv.
package wire

import "time"

// Base is the path below which all calls are.
const Base = "/xmpp/v1"

// Paths of the calls, below Base.
const (
	PathKeys         = "/keys"                     // POST
	PathKeysGet      = "/keys/get"                 // POST
	PathKey          = "/keys/{id}"                // GET
	PathCopies       = "/keys/{id}/copies"         // POST
	PathConversation = "/conversations/{id}/keys"  // GET
	PathDevice       = "/devices/{device}"         // PUT, DELETE
	PathApprove      = "/devices/{device}/approve" // POST
	PathUserDevices  = "/users/{jid}/devices"      // GET
	PathWants        = "/wants"                    // GET
	PathFiles        = "/files"                    // POST
	PathFile         = "/files/{id}"               // GET, HEAD
)

// Headers of a call: "Authorization: DPoP TOKEN" with a proof in "DPoP", or
// "Authorization: Bearer TOKEN" for a token that is bound to no key, with the
// client's own id in "Client-Id".
const (
	HeaderProof  = "DPoP"
	HeaderClient = "Client-Id"
	SchemeProof  = "DPoP"
	SchemeBearer = "Bearer"
)

// The bounds of calls.
const (
	// MaxBody bounds a request in bytes, MaxAnswer an answer.
	MaxBody   = 512 << 10
	MaxAnswer = 8 << 20
	// MaxList is how many key objects a list has at most.
	MaxList = 100
	// MaxWants is how many wants are listed at most.
	MaxWants = 500
	// TokenLife bounds how long a token serves.
	TokenLife = 10 * time.Minute
)
