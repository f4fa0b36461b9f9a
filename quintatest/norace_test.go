//go:build !race

package quintatest_test

import "time"

// bound is what Start may take.
const bound = 100 * time.Millisecond
