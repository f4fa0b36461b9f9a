package middle_test

import (
	"bytes"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/quinta-chat/quinta/testkit/middle"
)

func get(t *testing.T, url string) (int, string) {
	t.Helper()
	resp, err := http.Post(url, "text/plain", bytes.NewReader([]byte("question")))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(b)
}

func TestProxy(t *testing.T) {
	t.Parallel()
	server := func(name string) string {
		s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			b, err := io.ReadAll(r.Body)
			if err != nil {
				t.Error(err)
			}
			if _, err := io.WriteString(w, name+" heard "+string(b)); err != nil {
				t.Error(err)
			}
		}))
		t.Cleanup(s.Close)
		return s.URL
	}
	p := middle.Start(t, server("one"))
	want := func(status int, text string) {
		t.Helper()
		if s, b := get(t, p.URL+"/a%2Fb?q=1"); s != status || b != text {
			t.Errorf("got %d %q, want %d %q", s, b, status, text)
		}
	}
	want(200, "one heard question")
	p.To(t, server("two"))
	want(200, "two heard question")
	p.Answers(func(_ *http.Request, _ int, b []byte) (int, []byte) { return 201, bytes.ToUpper(b) })
	want(201, "TWO HEARD QUESTION")
	p.Before(func(w http.ResponseWriter, _ *http.Request) bool { w.WriteHeader(429); return true })
	want(429, "")
	seen := p.Seen()
	if len(seen) != 4 || seen[0].Path != "/a%2Fb" || seen[0].Query != "q=1" || string(seen[0].Body) != "question" {
		t.Errorf("got %v, want four requests with path, query and body", seen)
	}
}
