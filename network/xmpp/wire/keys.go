package wire

import (
	"encoding/json"
	"fmt"

	"github.com/quinta-chat/quinta/e2ee/keysrv"
	"github.com/quinta-chat/quinta/internal/canonicaljson"
	"github.com/quinta-chat/quinta/internal/exactjson"
)

// A GetRequest is the body of POST keys/get.
type GetRequest struct {
	IDs []string `json:"ids"`
}

// A GetAnswer is the answer to POST keys/get: the objects, each as
// keysrv.Object.Encode writes it, and the ids that the caller is not given.
type GetAnswer struct {
	Keys    []json.RawMessage `json:"keys"`
	Refused []string          `json:"refused"`
}

// A ListAnswer is the answer to GET conversations/{id}/keys, oldest first.
type ListAnswer struct {
	Keys []json.RawMessage `json:"keys"`
}

// A CopiesRequest is the body of POST keys/{id}/copies.
type CopiesRequest struct {
	Wrapped []keysrv.Wrapped `json:"wrapped"`
}

// A DeviceList is the devices of a user, in the order in which the server took
// them in.
type DeviceList struct {
	Devices []keysrv.Device `json:"devices"`
}

// A WantList is the copies that other devices wait for.
type WantList struct {
	Wants []keysrv.Want `json:"wants"`
}

// A FileInfo is the answer to POST files.
type FileInfo struct {
	ID     string `json:"id"`
	Size   int64  `json:"size"`
	SHA256 []byte `json:"sha256"`
}

// Decode reads a JSON object into v. A member that occurs twice, a fraction and
// nesting that is too deep are refused.
func Decode(raw []byte, v any) error {
	if len(raw) == 0 || raw[0] != '{' || canonicaljson.Valid(raw) != nil || exactjson.Unmarshal(raw, v) != nil {
		return fmt.Errorf("%w: not the JSON object of this call", keysrv.ErrMalformed)
	}
	return nil
}

// Objects reads the objects of an answer.
func Objects(list []json.RawMessage) ([]keysrv.Object, error) {
	if len(list) > MaxList {
		return nil, fmt.Errorf("%w: too many key objects", keysrv.ErrMalformed)
	}
	var out []keysrv.Object
	for _, raw := range list {
		o, err := keysrv.ParseObject(raw)
		if err != nil {
			continue // one that cannot be read does not keep the others
		}
		out = append(out, *o)
	}
	return out, nil
}
