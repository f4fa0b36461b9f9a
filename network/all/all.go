// Package all is the one list of networks.
package all

import (
	"github.com/quinta-chat/quinta/client"
	"github.com/quinta-chat/quinta/network/ca/caclient"
	"github.com/quinta-chat/quinta/network/ca/caserver"
	"github.com/quinta-chat/quinta/network/matrix/matrixclient"
	"github.com/quinta-chat/quinta/network/matrix/matrixserver"
	"github.com/quinta-chat/quinta/server"
)

// A network is the two halves of one network; a half that does not exist is
// left out.
type network struct {
	server *server.Network
	client client.Network
}

// networks has one line a network.
var networks = []network{
	{server: &matrixserver.Network, client: matrixclient.Network{}},
	{server: &caserver.Network, client: caclient.Network{}},
}

// Servers are the server halves.
var Servers = servers()

// Clients are the client halves.
var Clients = clients()

func servers() (out []server.Network) {
	for _, n := range networks {
		if n.server != nil {
			out = append(out, *n.server)
		}
	}
	return out
}

func clients() (out []client.Network) {
	for _, n := range networks {
		if n.client != nil {
			out = append(out, n.client)
		}
	}
	return out
}
