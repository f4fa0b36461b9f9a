package thumbnail_test

import (
	"bytes"
	"compress/zlib"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"image"
	"image/color"
	"image/gif"
	"image/jpeg"
	"image/png"
	"io"
	"testing"
	"time"

	"github.com/quinta-chat/quinta/network/matrix/matrixserver/thumbnail"
)

// corners returns an image whose quarters are red, green, blue and white, in
// the order of reading.
func corners(w, h int) *image.RGBA {
	m := image.NewRGBA(image.Rect(0, 0, w, h))
	for y := range h {
		for x := range w {
			m.Set(x, y, quarter(2*x < w, 2*y < h))
		}
	}
	return m
}

var red, green, blue, white = color.RGBA{255, 0, 0, 255}, color.RGBA{0, 255, 0, 255}, color.RGBA{0, 0, 255, 255}, color.RGBA{255, 255, 255, 255}

func quarter(left, top bool) color.RGBA {
	switch {
	case left && top:
		return red
	case top:
		return green
	case left:
		return blue
	}
	return white
}

func encode(t testing.TB, kind string, m image.Image) []byte {
	t.Helper()
	var b bytes.Buffer
	var err error
	switch kind {
	case "image/png":
		err = png.Encode(&b, m)
	case "image/jpeg":
		err = jpeg.Encode(&b, m, &jpeg.Options{Quality: 95})
	case "image/gif":
		err = gif.Encode(&b, m, nil)
	}
	if err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// shown decodes a thumbnail and names the colours of its four quarters.
func shown(t *testing.T, im thumbnail.Image) (image.Image, [4]color.RGBA) {
	t.Helper()
	m, kind, err := image.Decode(bytes.NewReader(im.Data))
	if err != nil || "image/"+kind != im.Type {
		t.Fatalf("the thumbnail is %q, said to be %q: %v", kind, im.Type, err)
	}
	var got [4]color.RGBA
	b := m.Bounds()
	for i := range got {
		r, g, bl, _ := m.At(b.Dx()*(1+2*(i%2))/4, b.Dy()*(1+2*(i/2))/4).RGBA()
		near := func(v uint32) uint8 { return uint8(v >> 15 * 255) }
		got[i] = color.RGBA{near(r), near(g), near(bl), 255}
	}
	return m, got
}

func TestMake(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		kind, becomes string
		w, h          int
		want          thumbnail.Size
		wantW, wantH  int
	}{
		{"image/png", "image/png", 1000, 500, thumbnail.Size{Width: 320, Height: 240}, 320, 160},
		{"image/png", "image/png", 500, 1000, thumbnail.Size{Width: 320, Height: 240}, 120, 240},
		{"image/png", "image/png", 500, 1000, thumbnail.Size{Width: 96, Height: 96, Crop: true}, 96, 96},
		{"image/jpeg", "image/jpeg", 1000, 500, thumbnail.Size{Width: 96, Height: 96, Crop: true}, 96, 96},
		{"image/jpeg", "image/jpeg", 800, 600, thumbnail.Size{Width: 320, Height: 240}, 320, 240},
		{"image/gif", "image/png", 400, 400, thumbnail.Size{Width: 32, Height: 32, Crop: true}, 32, 32},
		{"image/png", "image/png", 20, 500, thumbnail.Size{Width: 96, Height: 96, Crop: true}, 20, 96}, // never larger than the image
		{"image/png", "image/png", 2, 4000, thumbnail.Size{Width: 320, Height: 240}, 1, 240},
	} {
		im, err := thumbnail.Make(bytes.NewReader(encode(t, c.kind, corners(c.w, c.h))), c.want)
		if err != nil {
			t.Fatalf("%s %dx%d to %s: %v", c.kind, c.w, c.h, c.want, err)
		}
		m, got := shown(t, im)
		if im.Type != c.becomes || m.Bounds().Dx() != c.wantW || m.Bounds().Dy() != c.wantH {
			t.Errorf("%s %dx%d to %s: got %s %v, want %s %dx%d", c.kind, c.w, c.h, c.want, im.Type, m.Bounds(), c.becomes, c.wantW, c.wantH)
		}
		if want := [4]color.RGBA{red, green, blue, white}; c.wantW > 1 && got != want {
			t.Errorf("%s %dx%d to %s: got quarters %v, want %v", c.kind, c.w, c.h, c.want, got, want)
		}
	}
}

func TestSmallEnough(t *testing.T) {
	t.Parallel()
	for _, kind := range []string{"image/png", "image/jpeg", "image/gif"} {
		im, err := thumbnail.Make(bytes.NewReader(encode(t, kind, corners(32, 20))), thumbnail.Size{Width: 32, Height: 32, Crop: true})
		if err != nil || im.Data != nil || im.Type != kind {
			t.Errorf("got %d bytes of %q, %v; want the image itself", len(im.Data), im.Type, err)
		}
	}
}

// exif puts an orientation into a JPEG.
func exif(j []byte, o uint16, order binary.AppendByteOrder) []byte {
	b := []byte("Exif\x00\x00MM\x00*")
	if order.String() == "LittleEndian" {
		b = []byte("Exif\x00\x00II*\x00")
	}
	b = order.AppendUint32(b, 8)
	b = order.AppendUint16(b, 2)
	for _, e := range [][2]uint16{{0x0100, 1}, {0x0112, o}} {
		b = order.AppendUint16(b, e[0])
		b = order.AppendUint16(b, 3)
		b = order.AppendUint32(b, 1)
		b = order.AppendUint16(b, e[1])
		b = order.AppendUint16(b, 0)
	}
	out := append([]byte{}, j[:2]...)
	out = append(out, 0xFF, 0xE1)
	out = binary.BigEndian.AppendUint16(out, uint16(len(b)+2))
	return append(append(out, b...), j[2:]...)
}

// TestOrientation turns images as cameras store them: the thumbnail has no
// Exif, so its pixels must be upright.
func TestOrientation(t *testing.T) {
	t.Parallel()
	stored := encode(t, "image/jpeg", corners(400, 200))
	for o, want := range map[uint16][4]color.RGBA{
		0: {red, green, blue, white},
		1: {red, green, blue, white},
		2: {green, red, white, blue},
		3: {white, blue, green, red},
		4: {blue, white, red, green},
		5: {red, blue, green, white},
		6: {blue, red, white, green},
		7: {white, green, blue, red},
		8: {green, white, red, blue},
		9: {red, green, blue, white},
	} {
		for _, order := range []binary.AppendByteOrder{binary.BigEndian, binary.LittleEndian} {
			im, err := thumbnail.Make(bytes.NewReader(exif(stored, o, order)), thumbnail.Size{Width: 100, Height: 100})
			if err != nil {
				t.Fatal(err)
			}
			m, got := shown(t, im)
			w, h := 100, 50
			if o >= 5 && o <= 8 {
				w, h = h, w
			}
			if got != want || m.Bounds().Dx() != w || m.Bounds().Dy() != h {
				t.Errorf("orientation %d: got %v %v, want %v %dx%d", o, m.Bounds(), got, want, w, h)
			}
		}
	}
}

// pngOf returns a PNG that claims a size and holds one row of zeros or so.
func pngOf(w, h uint32, depth, kind byte) []byte {
	chunk := func(out []byte, name string, data []byte) []byte {
		out = binary.BigEndian.AppendUint32(out, uint32(len(data)))
		body := append([]byte(name), data...)
		return binary.BigEndian.AppendUint32(append(out, body...), crc32.ChecksumIEEE(body))
	}
	head := binary.BigEndian.AppendUint32(nil, w)
	head = binary.BigEndian.AppendUint32(head, h)
	head = append(head, depth, kind, 0, 0, 0)
	var z bytes.Buffer
	zw := zlib.NewWriter(&z)
	zw.Write(make([]byte, 1<<16))
	zw.Close()
	out := chunk([]byte("\x89PNG\r\n\x1a\n"), "IHDR", head)
	return chunk(chunk(out, "IDAT", z.Bytes()), "IEND", nil)
}

// jpegOf returns the head of a JPEG that claims a size.
func jpegOf(w, h uint16, marker byte) []byte {
	out := []byte{0xFF, 0xD8, 0xFF, marker, 0, 17, 8}
	out = binary.BigEndian.AppendUint16(out, h)
	out = binary.BigEndian.AppendUint16(out, w)
	return append(out, 3, 1, 0x11, 0, 2, 0x11, 1, 3, 0x11, 1)
}

func gifOf(w, h uint16) []byte {
	out := binary.LittleEndian.AppendUint16([]byte("GIF89a"), w)
	return append(binary.LittleEndian.AppendUint16(out, h), 0, 0, 0, 0x3B)
}

// TestAttackPixels: the largest images that are decoded take a bounded time, and
// one pixel more is refused before anything is decoded.
func TestAttackPixels(t *testing.T) {
	t.Parallel()
	im := image.NewPaletted(image.Rect(0, 0, 4096, 4096), color.Palette{color.Black, color.White})
	var b bytes.Buffer
	if err := gif.Encode(&b, im, nil); err != nil {
		t.Fatal(err)
	}
	if _, err := thumbnail.Make(bytes.NewReader(b.Bytes()), thumbnail.Size{Width: 32, Height: 32}); err != nil {
		t.Errorf("%d bytes of 16 million pixels: got %v", b.Len(), err)
	}
	start := time.Now()
	for range 100 {
		if _, err := thumbnail.Make(bytes.NewReader(gifOf(10_000, 10_000)), thumbnail.Size{Width: 32, Height: 32}); !errors.Is(err, thumbnail.ErrTooLarge) {
			t.Fatalf("got %v, want ErrTooLarge", err)
		}
	}
	if took := time.Since(start); took > 5*time.Second {
		t.Errorf("refusing took %v", took)
	}
}

// TestDecompressionBomb refuses what unfolds into more memory than it may,
// before it is decoded.
func TestDecompressionBomb(t *testing.T) {
	t.Parallel()
	for name, b := range map[string][]byte{
		"png of 65535 squared":           pngOf(65535, 65535, 8, 6),
		"png of 16 bits":                 pngOf(4000, 3500, 16, 6),
		"jpeg of 65535 squared":          jpegOf(65535, 65535, 0xC0),
		"progressive jpeg of 20 million": jpegOf(5000, 4000, 0xC2),
		"gif of 65535 squared":           gifOf(65535, 65535),
		// The memory of these is allowed; the time is not.
		"gif of 100 million": gifOf(10_000, 10_000),
		"gif of 17 million":  gifOf(4096, 4097),
		"png of 17 million":  pngOf(4096, 4097, 8, 0),
		"jpeg of 42 million": jpegOf(6476, 6480, 0xC0),
	} {
		if _, err := thumbnail.Make(bytes.NewReader(b), thumbnail.Size{Width: 32, Height: 32}); !errors.Is(err, thumbnail.ErrTooLarge) {
			t.Errorf("%s: got %v, want %v", name, err, thumbnail.ErrTooLarge)
		}
	}
	// A photo of a telephone is not too large.
	if _, err := thumbnail.Make(bytes.NewReader(jpegOf(4000, 3000, 0xC0)), thumbnail.Size{Width: 32, Height: 32}); !errors.Is(err, thumbnail.ErrUnsupported) {
		t.Errorf("the head of a large photo: got %v, want %v", err, thumbnail.ErrUnsupported)
	}
}

func TestUnsupported(t *testing.T) {
	t.Parallel()
	p := encode(t, "image/png", corners(100, 100))
	j := encode(t, "image/jpeg", corners(100, 100))
	flipped := bytes.Clone(p)
	flipped[len(flipped)/2] ^= 1
	for name, b := range map[string][]byte{
		"nothing":          nil,
		"text":             []byte("hello, this is no image"),
		"svg":              []byte(`<svg xmlns="http://www.w3.org/2000/svg"/>`),
		"cut png":          p[:len(p)/2],
		"cut jpeg":         j[:20],
		"only magic":       p[:8],
		"flipped bit":      flipped,
		"jpeg of no size":  jpegOf(0, 0, 0xC0),
		"jpeg, no frame":   {0xFF, 0xD8, 0xFF, 0xDA, 0, 2, 0, 0},
		"jpeg, size 0":     {0xFF, 0xD8, 0xFF, 0xE0, 0, 0, 0, 0, 0},
		"jpeg, many parts": append([]byte{0xFF, 0xD8}, bytes.Repeat([]byte{0xFF, 0xE2, 0, 2}, 2000)...),
	} {
		if _, err := thumbnail.Make(bytes.NewReader(b), thumbnail.Size{Width: 32, Height: 32}); !errors.Is(err, thumbnail.ErrUnsupported) {
			t.Errorf("%s: got %v, want %v", name, err, thumbnail.ErrUnsupported)
		}
	}
}

// A file that cannot be read is not an image that is broken.
func TestReadError(t *testing.T) {
	t.Parallel()
	gone := errors.New("the disk is gone")
	for _, kind := range []string{"image/png", "image/jpeg", "image/gif"} {
		b := encode(t, kind, corners(100, 100))
		for _, n := range []int{0, 9, len(b) - 20} {
			r := &torn{Reader: *bytes.NewReader(b[:n]), err: gone}
			if _, err := thumbnail.Make(r, thumbnail.Size{Width: 32, Height: 32}); !errors.Is(err, gone) {
				t.Errorf("%s after %d bytes: got %v, want %v", kind, n, err, gone)
			}
		}
	}
}

// A torn file ends with an error.
type torn struct {
	bytes.Reader
	err error
}

func (r *torn) Read(p []byte) (int, error) {
	n, err := r.Reader.Read(p)
	if err == io.EOF {
		err = r.err
	}
	return n, err
}

func TestPick(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		w, h int
		crop bool
		want string
	}{
		{1, 1, true, "32x32-crop"},
		{32, 32, true, "32x32-crop"},
		{33, 32, true, "96x96-crop"},
		{50, 50, false, "96x96-scale"},
		{320, 240, false, "320x240-scale"},
		{240, 320, false, "640x480-scale"},
		{800, 600, true, "800x600-crop"},
		{1 << 40, 1, false, "800x600-scale"},
	} {
		if got := thumbnail.Pick(c.w, c.h, c.crop).String(); got != c.want {
			t.Errorf("%dx%d: got %s, want %s", c.w, c.h, got, c.want)
		}
	}
}

func FuzzMake(f *testing.F) {
	for _, kind := range []string{"image/png", "image/jpeg", "image/gif"} {
		f.Add(encode(f, kind, corners(40, 40)))
	}
	f.Add(exif(encode(f, "image/jpeg", corners(64, 40)), 6, binary.BigEndian))
	f.Add(jpegOf(300, 300, 0xC2))
	f.Add(gifOf(300, 300))
	f.Fuzz(func(t *testing.T, b []byte) {
		im, err := thumbnail.Make(bytes.NewReader(b), thumbnail.Size{Width: 32, Height: 32, Crop: true})
		if err != nil {
			if !errors.Is(err, thumbnail.ErrUnsupported) && !errors.Is(err, thumbnail.ErrTooLarge) {
				t.Fatalf("got %v", err)
			}
			return
		}
		if im.Data == nil {
			return
		}
		c, _, err := image.DecodeConfig(bytes.NewReader(im.Data))
		if err != nil || c.Width > 32 || c.Height > 32 {
			t.Fatalf("got a thumbnail of %dx%d, %v", c.Width, c.Height, err)
		}
	})
}
