// Package secretchat implements the secret chats of MTProto 2.0 as specified
// in "End-to-End Encryption, Secret Chats" and "Perfect Forward Secrecy" at
// core.telegram.org, from layer 73 to layer 144.
//
// The forms come first: [Verdicts] judges a prime and a generator, [NewSecret]
// makes an exponent, [Secret.Agree] a [Key], and [Seal] and [Open] work on one
// packet. [Parse] reads what was opened. The objects inside a packet are those
// of github.com/gotd/td/tg/e2e.
//
// Beware: a Key authenticates nobody. A server in the middle can have another
// key with each of the two people, until they compare [Key.Hash] over another
// channel. Files are sealed without authentication of their content; only
// their keys are authenticated, by the message that carries them.
package secretchat
