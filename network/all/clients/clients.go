// Package clients is the list of the client halves of all networks. Package
// servers is the list of the server halves; the two are separate so that a
// client program links no server.
package clients

import (
	"github.com/quinta-chat/quinta/client"
	"github.com/quinta-chat/quinta/network/ca/caclient"
	"github.com/quinta-chat/quinta/network/matrix/matrixclient"
	"github.com/quinta-chat/quinta/network/mtproto/mtprotoclient"
	"github.com/quinta-chat/quinta/network/rocketchat/rocketchatclient"
	"github.com/quinta-chat/quinta/network/xmpp/xmppclient"
)

// All returns the client half of every network, one line each.
func All() []client.Network {
	return []client.Network{
		matrixclient.Network{},
		caclient.Network{},
		mtprotoclient.Network{},
		rocketchatclient.Network{},
		xmppclient.Network{},
	}
}
