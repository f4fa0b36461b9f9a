//go:build !race

package crowd

import "time"

// Length is how long the clients work: where the race detector does not look
// on, as long as the invariants need.
const Length = 5 * time.Second
