// Package secretchat implements the secret chats of MTProto 2.0 as specified
// in "End-to-End Encryption, Secret Chats" and "Perfect Forward Secrecy" at
// core.telegram.org, from layer 73 to layer 144.
//
// A [Machine] holds all secret chats of one device: it requests, accepts and
// closes chats, keeps their messages in order, fills gaps, replaces keys and
// runs timers. It does not talk to a server: [Req] names the calls that are
// due, and [In] is what arrived.
//
// The formats can be used separately: [Verdicts] checks a prime and a
// generator, [NewSecret] makes an exponent, [Secret.Agree] a [Key], and [Seal]
// and [Open] work on one packet. [Parse] reads what was opened, a [FileKey]
// seals a file. The objects inside a packet are those of package
// schema.
//
// Beware: a Key does not authenticate anyone. A server in the middle can have
// a different key with each of the two people, until they compare [Key.Hash]
// over another channel. Files are sealed without authentication of their
// content; only their keys are authenticated, by the message that carries
// them. If a server withholds the last messages of a chat, this cannot be
// noticed.
//
// MTProto 1.0 is read only by [OpenV1], never by the machine, and is never
// written.
package secretchat
