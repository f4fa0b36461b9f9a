package middle

import (
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"testing"
)

// Old makes the homeserver behind p look like one that has nothing optional: no
// version of Matrix beyond those given, no unstable features, no fallback keys,
// no one in device_lists.left, no summaries, no lazy loading, no state_after,
// no media with a token. What such a server does not know it refuses, and a
// client that asks for it fails the test. It takes the place of Before and
// Answers.
func (p *Proxy) Old(t testing.TB, versions ...string) {
	t.Helper()
	legacy := !slices.ContainsFunc(versions, func(v string) bool { return strings.HasPrefix(v, "v1.") })
	p.Before(func(w http.ResponseWriter, r *http.Request) bool {
		path := r.URL.EscapedPath()
		unknown := strings.Contains(path, "/v1/media") || strings.Contains(path, "/unstable/") ||
			legacy && (strings.HasPrefix(path, "/_matrix/client/v3/") || strings.HasPrefix(path, "/_matrix/media/v3/"))
		if unknown || strings.Contains(r.URL.RawQuery, "state_after") {
			t.Errorf("%s %s: asked for what the server does not offer", r.Method, path)
			w.WriteHeader(http.StatusNotFound)
			_, _ = w.Write([]byte(`{"errcode":"M_UNRECOGNIZED","error":"unknown"}`))
			return true
		}
		if q := r.URL.Query(); q.Has("filter") {
			q.Set("filter", strings.ReplaceAll(q.Get("filter"), `"lazy_load_members":true`, `"lazy_load_members":false`))
			r.URL.RawQuery = q.Encode()
		}
		// The server behind serves files with a token only: the proxy is the
		// old server's open door to them.
		if rest, ok := strings.CutPrefix(path, "/_matrix/media/v3/download/"); ok || strings.HasPrefix(path, "/_matrix/media/r0/download/") {
			if !ok {
				rest = strings.TrimPrefix(path, "/_matrix/media/r0/download/")
			}
			if r.Header.Get("Authorization") != "" {
				t.Error("a download of an old server got the access token")
			}
			r.URL.Path, r.URL.RawPath = "/_matrix/client/v1/media/download/"+rest, ""
			r.Header.Set("Authorization", p.token())
		}
		return false
	})
	p.Answers(func(r *http.Request, status int, b []byte) (int, []byte) {
		var v map[string]any
		if status != http.StatusOK || json.Unmarshal(b, &v) != nil {
			return status, b
		}
		switch path := r.URL.Path; {
		case path == "/_matrix/client/versions":
			v = map[string]any{"versions": versions}
		case strings.HasSuffix(path, "/sync"):
			strip(v)
		}
		out, err := json.Marshal(v)
		if err != nil {
			t.Error(err)
		}
		return status, out
	})
}

// strip takes the optional parts out of a /sync answer.
func strip(v map[string]any) {
	delete(v, "device_unused_fallback_key_types")
	delete(v, "org.matrix.msc2732.device_unused_fallback_key_types")
	if lists, ok := v["device_lists"].(map[string]any); ok {
		delete(lists, "left")
	}
	rooms, _ := v["rooms"].(map[string]any)
	for _, kind := range rooms {
		byID, _ := kind.(map[string]any)
		for _, room := range byID {
			if r, ok := room.(map[string]any); ok {
				delete(r, "summary")
				delete(r, "unread_notifications")
				if tl, ok := r["timeline"].(map[string]any); ok {
					events, _ := tl["events"].([]any)
					for _, e := range events {
						if e, ok := e.(map[string]any); ok {
							delete(e, "unsigned")
						}
					}
				}
			}
		}
	}
}

// token returns the token of someone who came by.
func (p *Proxy) token() string {
	for _, r := range p.Seen() {
		if a := r.Header.Get("Authorization"); a != "" {
			return a
		}
	}
	return ""
}
