package matrixserver

import (
	"net/http"

	"github.com/quinta-chat/quinta/network/matrix/wire"
)

// versions are the versions of the client-server API whose calls for one
// server are served.
var versions = []string{
	"r0.5.0", "r0.6.0", "r0.6.1", "v1.1", "v1.2", "v1.3", "v1.4", "v1.5", "v1.6", "v1.7",
	"v1.8", "v1.9", "v1.10", "v1.11", "v1.12", "v1.13", "v1.14", "v1.15", "v1.16",
}

// unstable are the features beyond the versions.
var unstable = map[string]bool{
	"org.matrix.msc3814":        true, // dehydrated devices
	"org.matrix.msc3916.stable": true, // authenticated media
	"org.matrix.msc4222":        true, // state_after
}

func (s *homeserver) versionCalls() {
	s.at(http.MethodGet, "/_matrix/client/versions", endpoint{open: true, rate: rateOpen, handle: (*call).getVersions})
	s.at(http.MethodGet, "/.well-known/matrix/client", endpoint{open: true, rate: rateOpen, handle: (*call).getWellKnown})
}

// getVersions: "GET /_matrix/client/versions".
func (c *call) getVersions() (any, error) {
	return wire.Versions{Versions: versions, Unstable: unstable}, nil
}

// getWellKnown: "GET /.well-known/matrix/client". The base URL is the one
// that the client used, as a reverse proxy passes it on, or the configured
// one.
func (c *call) getWellKnown() (any, error) {
	if c.PublicURL == "" {
		return nil, wire.NewError(http.StatusNotFound, wire.CodeNotFound, "no public address is configured")
	}
	return wire.WellKnown{Homeserver: wire.Homeserver{BaseURL: c.PublicURL}}, nil
}
