package wire

// PathAbout is where a server says how its clients connect.
const PathAbout = "/mtproto/server"

// The paths of the transports over HTTP: that of websockets, that of single
// packets, and the latter for pages of browsers.
const (
	PathWebsocket = "/apiws"
	PathHTTP      = "/api"
	PathHTTPWeb   = "/apiw"
)

// Subprotocol is that of websockets.
const Subprotocol = "binary"

// An About is what is there, in JSON. It is as trustworthy as the connection
// that it came over.
type About struct {
	// DC is the number of the DC to name.
	DC int `json:"dc"`
	// PublicKey is the server's RSA key, PKCS #1 in PEM.
	PublicKey string `json:"public_key"`
	// Addresses are "host:port" of TCP listeners. A host that stands for all
	// addresses means the host of the document.
	Addresses []string `json:"addresses"`
}
