// Package eventauth says what a Matrix room of each room version accepts: the
// authorization rules, power levels, the form and size of events, event ids
// and redaction, as the room version pages of the Matrix specification define
// them (versions 1 to 12).
//
// Start at Check: it takes a Version, a proposed Event and the State before
// it, and returns nil or a *Rejected that names the rule. Needed says which
// state must be loaded first, Measure refuses events that are too large, and
// NewID gives the accepted event its id.
//
// The package judges events of one server: state resolution, signatures and
// invitations by third-party identifiers are not here. Content is judged as
// canonical JSON: pass every content to Canonical first, so that all readers
// of an event see the same thing.
package eventauth
