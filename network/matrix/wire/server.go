package wire

// Versions is the answer of "GET /_matrix/client/versions".
type Versions struct {
	Versions []string        `json:"versions"`
	Unstable map[string]bool `json:"unstable_features"`
}

// WellKnown is the answer of "GET /.well-known/matrix/client".
type WellKnown struct {
	Homeserver Homeserver `json:"m.homeserver"`
}

// A Homeserver says where the client-server API is.
type Homeserver struct {
	BaseURL string `json:"base_url"`
}
