// Package olm implements Olm v1, the ratchet between two devices that Matrix
// names m.olm.v1.curve25519-aes-sha2, byte for byte as libolm writes it.
//
// An [Account] is what one device has: its identity keys and the single-use
// keys that others claim. A [Session] is one ratchet with one other device:
// [Account.NewOutbound] makes it from a claimed key, [Account.NewInbound] from
// the first message of the other side. [Session.Seal] and [Session.Open] do
// the rest.
//
// State is in memory and belongs to the caller, who stores what Encode gives
// before anything leaves the device: a message that was sealed but whose state
// is lost would use its key twice. A call that fails changes nothing. Neither
// type may be used by two goroutines at once.
//
// A pre-key message of a session that exists (see [Session.Matches]) is opened
// by that session; only if there is none, NewInbound is asked. It opens the
// message and makes the session in one step, because only a message that was
// opened may use up a one-time key.
//
// Olm authenticates the holder of the identity key of a message. The payload and
// the signed device keys say whose key that is; the caller has to check them. Not
// here: JSON, base64, signatures of objects, libolm's pickles.
package olm
