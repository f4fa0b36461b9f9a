// Package servers is the list of the server halves of all networks. Package
// clients is the list of the client halves; the two are separate so that a
// client program links no server.
package servers

import (
	"github.com/quinta-chat/quinta/network/ca/caserver"
	"github.com/quinta-chat/quinta/network/matrix/matrixserver"
	"github.com/quinta-chat/quinta/network/mtproto/mtprotoserver"
	"github.com/quinta-chat/quinta/network/rocketchat/rocketchatserver"
	"github.com/quinta-chat/quinta/network/xmpp/xmppserver"
	"github.com/quinta-chat/quinta/server"
)

// All returns the server half of every network, one line each.
func All() []server.Network {
	return []server.Network{
		matrixserver.Network,
		caserver.Network,
		mtprotoserver.Network,
		rocketchatserver.Network,
		xmppserver.Network,
	}
}
