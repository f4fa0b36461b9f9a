//go:build race

package quintatest_test

import "time"

// bound is longer under the race detector, which makes everything slower.
const bound = time.Second
