package mtprotoserver

import (
	"encoding/json"
	"net/http"

	"github.com/quinta-chat/quinta/network/mtproto/wire"
)

// Paths are the document that tells a client of Quinta where to connect, and
// the transports over HTTP.
func (s *mtprotoServer) Paths() []string {
	return []string{wire.PathAbout, wire.PathWebsocket, wire.PathHTTP, wire.PathHTTPWeb}
}

// ServeHTTP implements server.Web.
func (s *mtprotoServer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	switch r.URL.Path {
	case wire.PathWebsocket:
		s.serveWebsocket(w, r)
	case wire.PathHTTP, wire.PathHTTPWeb:
		s.servePoll(w, r)
	default:
		s.serveAbout(w, r)
	}
}

// serveAbout answers with a [wire.About], so that a client that trusts the
// certificate of the web address gets the server's key by it.
func (s *mtprotoServer) serveAbout(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		w.Header().Set("Allow", "GET, HEAD")
		http.Error(w, "only GET and HEAD", http.StatusMethodNotAllowed)
		return
	}
	sec, err := s.secrets(r.Context())
	if err != nil {
		s.Log.Error("mtproto: the server has no key", "err", err)
		http.Error(w, "the server has no key", http.StatusServiceUnavailable)
		return
	}
	about := wire.About{DC: s.dc, PublicKey: string(wire.PublicPEM(&sec.rsa[0].PublicKey)), Addresses: []string{}}
	if addr := s.announce[s.dc]; addr != "" {
		about.Addresses = append(about.Addresses, addr)
	} else if addr := s.announce[0]; addr != "" {
		about.Addresses = append(about.Addresses, addr)
	}
	if len(about.Addresses) == 0 {
		for _, st := range s.Core.Streams() {
			if st.Network == name {
				about.Addresses = append(about.Addresses, st.Addr.String())
			}
		}
	}
	b, err := json.Marshal(about)
	if err != nil {
		http.Error(w, "internal error", http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.Write(b)
}
