// Package megolm implements Megolm v1, the ratchet for the messages of one
// device to a room that Matrix names m.megolm.v1.aes-sha2, byte for byte as
// libolm writes it.
//
// The sender has an [Outbound] session and seals with it. Whoever has the
// session key that [Outbound.SessionKey] gives, sent to the recipient over Olm, makes an
// [Inbound] session of it and opens what is sealed from then on.
//
// State is in memory and belongs to the caller, who stores what Encode gives
// before a sealed message leaves the device: a message whose state is lost
// would use its index twice. A call that fails changes nothing. None of the
// types may be used by two goroutines at once.
//
// Beware: Megolm does not notice a message that comes twice. The caller
// remembers the index of each opened message ([Message.Index]) with its event.
// Nor does it say who sent the session: that is known from the Olm message
// that brought the session key, and an imported session says nothing of it.
// Not here: JSON, base64, rotation, who gets a key.
package megolm
