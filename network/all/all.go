// Package all is the one list of networks.
package all

import (
	"github.com/quinta-chat/quinta/network/matrix/matrixserver"
	"github.com/quinta-chat/quinta/server"
)

// Servers are the server halves, one line a network.
var Servers = []server.Network{
	matrixserver.Network,
}
