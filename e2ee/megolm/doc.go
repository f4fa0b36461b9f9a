// Package megolm implements Megolm v1, the ratchet for the messages of one
// device to a room that Matrix names m.megolm.v1.aes-sha2, byte for byte as
// libolm writes it.
//
// The sender has an [Outbound] session and encrypts with it. [Outbound.SessionKey]
// returns a session key, which is sent to the recipients over Olm; they make an
// [Inbound] session from it and can open everything that is encrypted from then on.
//
// State is in memory and belongs to the caller, who stores what Encode gives
// before a sealed message leaves the device: a message whose state is lost
// would use its index twice. A call that fails changes nothing. None of the
// types may be used by two goroutines at once.
//
// Beware: Megolm does not notice a message that arrives twice. The caller
// remembers the index of each opened message ([Message.Index]) with its event.
// Nor does it say who sent the session: this is known from the Olm message
// that brought the session key, and unknown for an imported session. Not here:
// JSON, base64, rotation, who gets a key.
package megolm
