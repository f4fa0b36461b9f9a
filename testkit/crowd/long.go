//go:build race

package crowd

import "time"

// Length is how long the clients work: a minute where the race detector looks
// on, which is what they work for.
const Length = time.Minute
