// Package secretchat implements the secret chats of MTProto 2.0 as specified
// in "End-to-End Encryption, Secret Chats" and "Perfect Forward Secrecy" at
// core.telegram.org, from layer 73 to layer 144.
//
// A [Machine] holds all secret chats of one device: it asks for a chat, accepts
// one or closes it, keeps the order of its messages, fills gaps, replaces keys
// and runs timers. It speaks to no server: [Req] names the calls that are due
// and [In] is what came.
//
// The forms can be used alone: [Verdicts] judges a prime and a generator,
// [NewSecret] makes an exponent, [Secret.Agree] a [Key], and [Seal] and [Open]
// work on one packet. [Parse] reads what was opened, a [FileKey] seals a file.
// The objects inside a packet are those of github.com/gotd/td/tg/e2e.
//
// Beware: a Key authenticates nobody. A server in the middle can have another
// key with each of the two people, until they compare [Key.Hash] over another
// channel. Files are sealed without authentication of their content; only
// their keys are authenticated, by the message that carries them. When a
// server withholds the last messages of a chat, nobody notices.
//
// Not here: MTProto 1.0 is read by [OpenV1] alone, never by the machine, and
// never written.
package secretchat
