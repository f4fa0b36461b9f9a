package matrixserver_test

import (
	"bytes"
	"image"
	"image/color"
	"image/gif"
	"image/jpeg"
	"image/png"
	"net/http"
	"strings"
	"sync"
	"testing"
)

func picture(w, h int) image.Image {
	m := image.NewRGBA(image.Rect(0, 0, w, h))
	for y := range h {
		for x := range w {
			m.Set(x, y, color.RGBA{uint8(x), uint8(y), uint8(x ^ y), 255})
		}
	}
	return m
}

func pngImage(t *testing.T, w, h int) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := png.Encode(&b, picture(w, h)); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// TestRoomImageRoundtrip: an image that a user uploads is what another gets,
// and its thumbnails are images of the right size.
func TestRoomImageRoundtrip(t *testing.T) {
	each(t, func(t *testing.T, s *stage) {
		alice, bob := s.register("alice"), s.register("bob")
		var j, g bytes.Buffer
		if err := jpeg.Encode(&j, picture(1000, 500), nil); err != nil {
			t.Fatal(err)
		}
		if err := gif.Encode(&g, picture(900, 900), nil); err != nil {
			t.Fatal(err)
		}
		for _, c := range []struct {
			mediaType, becomes string
			body               []byte
		}{
			{"image/png", "image/png", pngImage(t, 800, 700)},
			{"image/jpeg", "image/jpeg", j.Bytes()},
			{"image/gif", "image/png", g.Bytes()},
		} {
			id := alice.upload(c.body, c.mediaType, "picture")
			r := bob.get(downloadPath + id).want(200)
			if !bytes.Equal(r.Raw, c.body) {
				t.Errorf("%s: got other bytes back", c.mediaType)
			}
			for _, q := range []struct {
				query string
				w, h  int // no larger than
			}{
				{"width=32&height=32&method=crop", 32, 32},
				{"width=50&height=60&method=crop&animated=true", 96, 96},
				{"width=320&height=240&method=scale", 320, 240},
				{"width=100000&height=100000", 800, 600},
			} {
				var first []byte
				for range 2 { // made, and then found
					r := bob.get(thumbnailPath + id + "?" + q.query).want(200)
					wantHeader(t, r, "Content-Type", c.becomes)
					wantHeader(t, r, "Content-Security-Policy", "sandbox; default-src 'none'; script-src 'none'; plugin-types application/pdf; style-src 'unsafe-inline'; object-src 'self';")
					if d := r.Header.Get("Content-Disposition"); !strings.HasPrefix(d, "inline; filename=thumbnail.") {
						t.Errorf("got Content-Disposition %q", d)
					}
					m, _, err := image.DecodeConfig(bytes.NewReader(r.Raw))
					if err != nil || m.Width > q.w || m.Height > q.h || (m.Width != q.w && m.Height != q.h) {
						t.Errorf("%s %s: got %dx%d, %v; want %dx%d", c.mediaType, q.query, m.Width, m.Height, err, q.w, q.h)
					}
					if first == nil {
						first = r.Raw
					} else if !bytes.Equal(first, r.Raw) {
						t.Errorf("%s %s: the second time another image", c.mediaType, q.query)
					}
				}
			}
		}
		// An image that is small already is its own thumbnail.
		small := pngImage(t, 20, 20)
		r := bob.get(thumbnailPath + alice.upload(small, "image/png", "") + "?width=32&height=32&method=crop").want(200)
		if !bytes.Equal(r.Raw, small) {
			t.Error("a small image was changed")
		}
	})
}

func TestThumbnailErrors(t *testing.T) {
	each(t, func(t *testing.T, s *stage) {
		alice := s.register("alice")
		id := alice.upload(pngImage(t, 100, 100), "image/png", "")
		for query, code := range map[string]string{
			"": "M_MISSING_PARAM", "width=32": "M_MISSING_PARAM", "height=32": "M_MISSING_PARAM",
			"width=0&height=32": "M_INVALID_PARAM", "width=32&height=-1": "M_INVALID_PARAM", "width=x&height=32": "M_INVALID_PARAM",
			"width=32.5&height=32": "M_INVALID_PARAM", "width=32&height=32&method=stretch": "M_INVALID_PARAM",
		} {
			alice.get(thumbnailPath+id+"?"+query).fails(400, code)
		}
		const q = "?width=32&height=32"
		// Encrypted files, other files, and files that only say that they are images.
		alice.get(thumbnailPath+alice.upload(pngImage(t, 100, 100), "application/octet-stream", "")+q).fails(400, "M_UNKNOWN")
		alice.get(thumbnailPath+alice.upload([]byte("<svg/>"), "image/svg+xml", "")+q).fails(400, "M_UNKNOWN")
		alice.get(thumbnailPath+alice.upload([]byte("<script>alert(1)</script>"), "image/png", "")+q).fails(400, "M_UNKNOWN")
		alice.get(thumbnailPath+alice.upload(nil, "image/png", "")+q).fails(400, "M_UNKNOWN")
		// The head of an image of 65535 squared.
		bomb := []byte{0xFF, 0xD8, 0xFF, 0xC0, 0, 17, 8, 0xFF, 0xFF, 0xFF, 0xFF, 3, 1, 0x11, 0, 2, 0x11, 1, 3, 0x11, 1}
		alice.get(thumbnailPath+alice.upload(bomb, "image/jpeg", "")+q).fails(413, "M_TOO_LARGE")
		alice.get(thumbnailPath+"hs1/unknown"+q).fails(404, "M_NOT_FOUND")
		alice.get(thumbnailPath+"other.example/unknown"+q).fails(404, "M_NOT_FOUND")
	})
}

// TestThumbnailOnce asks for the same thumbnail from many sides at once: all
// get the same image.
func TestThumbnailOnce(t *testing.T) {
	each(t, func(t *testing.T, s *stage) {
		alice := s.register("alice")
		id := alice.upload(pngImage(t, 300, 300), "image/png", "")
		got := make([][]byte, 16)
		var wg sync.WaitGroup
		for i := range got {
			wg.Go(func() {
				r := alice.get(thumbnailPath + id + "?width=96&height=96&method=crop")
				if r.Status == http.StatusOK {
					got[i] = r.Raw
				}
			})
		}
		wg.Wait()
		for i := range got {
			if len(got[i]) == 0 || !bytes.Equal(got[i], got[0]) {
				t.Errorf("call %d: got %d bytes, the first one %d", i, len(got[i]), len(got[0]))
			}
		}
	})
}
