package mtprotoserver

import (
	"cmp"
	"reflect"
	"slices"

	"github.com/quinta-chat/quinta/network/mtproto/wire"
	"github.com/quinta-chat/quinta/server"
)

// Bounds are the limits of the calls, and of the key exchange. All calls of
// one device count together.
func (s *mtprotoServer) Bounds() []server.Bound {
	all := []server.Bound{{Call: "key exchange", Open: true, Rate: rateExchange, Body: wire.MaxFrame}}
	for t, m := range table {
		all = append(all, server.Bound{Call: methodName(t), Open: m.open, Rate: rateCalls, Body: wire.MaxFrame, File: m.free != nil})
	}
	slices.SortFunc(all, func(a, b server.Bound) int { return cmp.Compare(a.Call, b.Call) })
	return all
}

// methodName is the name of a method by the type of its request.
func methodName(t reflect.Type) string { return t.Elem().Name() }
