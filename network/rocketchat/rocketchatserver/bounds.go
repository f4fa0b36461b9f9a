package rocketchatserver

import (
	"cmp"
	"slices"
	"strings"

	"github.com/quinta-chat/quinta/network/rocketchat/wire"
	"github.com/quinta-chat/quinta/server"
)

// maxOpenFrame bounds a frame before the login of its connection.
const maxOpenFrame = 64 << 10

// Bounds are the limits of the calls of REST, by their paths, of the methods of
// DDP, and of the frames that are no methods.
func (s *rcServer) Bounds() []server.Bound {
	all := []server.Bound{
		{Call: "GET " + wire.PathInfo, Open: true, Rate: rateOpen},
		{Call: "GET " + wire.PathWebsocket, Open: true, Rate: rateOpen},
		{Call: "DDP frame", Open: true, Rate: rateFrames, Body: maxOpenFrame},
	}
	for name, e := range s.rest {
		verb, name, _ := strings.Cut(name, " ")
		path := wire.PathAPI + name
		if name == "file-upload" {
			path = wire.PathFiles
		}
		all = append(all, server.Bound{Call: verb + " " + path, Open: e.open, Rate: e.rate, Body: e.body, File: e.long})
	}
	for name, m := range s.methods {
		b := server.Bound{Call: "DDP " + name, Open: m.open, Rate: m.rate, Body: wire.MaxFrame}
		if m.open {
			b.Body = maxOpenFrame
		}
		all = append(all, b)
	}
	slices.SortFunc(all, func(a, b server.Bound) int { return cmp.Compare(a.Call, b.Call) })
	return all
}
