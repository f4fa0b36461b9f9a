package wire_test

import (
	"encoding/json"
	"testing"

	"github.com/quinta-chat/quinta/network/rocketchat/wire"
)

// FuzzPush: a payload is refused, or has the ids that its kind needs, and reads the same
// when it is written again.
func FuzzPush(f *testing.F) {
	f.Add([]byte(`{"host":"https://x","messageId":"abc","notificationType":"message-id-only"}`))
	f.Add([]byte(`{"ejson":"{\"messageId\":\"abc\",\"notificationType\":\"message\",\"rid\":\"r\",\"sender\":{\"_id\":\"u\"},\"messageType\":\"e2e\",\"content\":{}}"}`))
	f.Add([]byte(`{"ejson":7}`))
	f.Fuzz(func(t *testing.T, raw []byte) {
		p, err := wire.ParsePush(raw)
		if err != nil {
			return
		}
		if p.MessageID == "" || p.Kind == wire.PushMessage && (p.Room == "" || p.Message().User.ID == "") {
			t.Errorf("got %+v", p)
		}
		again, err := json.Marshal(p)
		if err != nil {
			t.Fatal(err)
		}
		if q, err := wire.ParsePush(again); err != nil || q.MessageID != p.MessageID || q.Kind != p.Kind || q.Room != p.Room {
			t.Errorf("got %+v, %v, want %+v", q, err, p)
		}
	})
}
