package push

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/quinta-chat/quinta/network/matrix/wire"
)

// TestCheck: which pushers are refused, and that an address without TLS is one
// for the operator to allow.
func TestCheck(t *testing.T) {
	t.Parallel()
	http, email := "http", "email"
	pusher := func(kind *string, app, key, url string) *Pusher {
		raw, err := json.Marshal(url)
		if err != nil {
			t.Fatal(err)
		}
		return &Pusher{Kind: kind, AppID: app, Pushkey: key, Data: Data{"url": raw}}
	}
	const good = "https://push.example" + Path
	for name, c := range map[string]struct {
		p       *Pusher
		code    wire.Code
		private wire.Code
	}{
		"good":         {pusher(&http, "app", "key", good), "", ""},
		"removal":      {pusher(nil, "app", "key", ""), "", ""},
		"no app":       {pusher(&http, "", "key", good), wire.CodeMissingParam, wire.CodeMissingParam},
		"no key":       {pusher(nil, "app", "", good), wire.CodeMissingParam, wire.CodeMissingParam},
		"long app":     {pusher(&http, strings.Repeat("a", maxAppID+1), "key", good), wire.CodeInvalidParam, wire.CodeInvalidParam},
		"long key":     {pusher(&http, "app", strings.Repeat("k", maxPushkey+1), good), wire.CodeInvalidParam, wire.CodeInvalidParam},
		"other kind":   {pusher(&email, "app", "key", good), wire.CodeInvalidParam, wire.CodeInvalidParam},
		"without TLS":  {pusher(&http, "app", "key", "http://push.example"+Path), wire.CodeInvalidParam, ""},
		"another path": {pusher(&http, "app", "key", "https://push.example/_matrix/push/v1/notify/"), wire.CodeInvalidParam, wire.CodeInvalidParam},
		"with a name":  {pusher(&http, "app", "key", "https://user:word@push.example"+Path), wire.CodeInvalidParam, wire.CodeInvalidParam},
		"no host":      {pusher(&http, "app", "key", "https://"+Path), wire.CodeInvalidParam, wire.CodeInvalidParam},
		"another form": {pusher(&http, "app", "key", "file://push.example"+Path), wire.CodeInvalidParam, wire.CodeInvalidParam},
		"no address":   {&Pusher{Kind: &http, AppID: "app", Pushkey: "key"}, wire.CodeInvalidParam, wire.CodeInvalidParam},
		"not a text":   {&Pusher{Kind: &http, AppID: "app", Pushkey: "key", Data: Data{"url": json.RawMessage("7")}}, wire.CodeInvalidParam, wire.CodeInvalidParam},
	} {
		for private, want := range map[bool]wire.Code{false: c.code, true: c.private} {
			err := c.p.Check(private)
			we, _ := errors.AsType[*wire.Error](err)
			if want == "" && err != nil || want != "" && (we == nil || we.Code != want) {
				t.Errorf("%s, private %v: got %v, want %q", name, private, err, want)
			}
		}
	}
}
