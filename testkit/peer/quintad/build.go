package quintad

import (
	"sync"

	"github.com/quinta-chat/quinta/testkit/peer/program"
)

// build builds quintad once per test binary and returns its path.
var build = sync.OnceValues(func() (string, error) {
	return program.Own("quintad")
})
