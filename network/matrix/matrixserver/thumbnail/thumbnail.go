// Package thumbnail makes small images of large ones, for the media calls of
// the Matrix client-server API ("Thumbnails").
//
// [Pick] chooses one of the few sizes that are made, [Make] makes the image.
// PNG, JPEG and GIF (its first frame) are read. What an image says of its own
// size is checked before anything is decoded, and an image whose decoding
// would take more than [MaxMemory], or that has more than [MaxPixels], is
// refused: a few bytes of PNG can expand to gigabytes, and a few bytes of GIF
// can take seconds to decode.
package thumbnail

import (
	"bytes"
	"errors"
	"fmt"
	"image"
	"image/color"
	"image/gif"
	"image/jpeg"
	"image/png"
	"io"

	"golang.org/x/image/draw"
)

// MaxMemory bounds the bytes that decoding an image may take.
const MaxMemory = 128 << 20

const (
	// MaxPixels bounds the pixels of an image. A few bytes can stand for a row of
	// PNG or GIF, and the time that it takes grows with the pixels alone.
	MaxPixels = 16 << 20
	// MaxPixelsJPEG is the bound of a JPEG, whose bytes grow with its pixels, and
	// of which cameras make large ones.
	MaxPixelsJPEG = 40 << 20
)

// Errors that callers distinguish.
var (
	// ErrUnsupported: this is not a PNG, JPEG or GIF that can be read.
	ErrUnsupported = errors.New("thumbnail: not an image that can be read")
	// ErrTooLarge: decoding would take more than MaxMemory, or there are more
	// pixels than MaxPixels or MaxPixelsJPEG.
	ErrTooLarge = errors.New("thumbnail: the image is too large")
)

// A Size is how large a thumbnail is. A cropped one fills the box; a scaled
// one has the shape of the image and fits into the box.
type Size struct {
	Width, Height int
	Crop          bool
}

// String returns a name such as "96x96-crop".
func (s Size) String() string {
	method := "scale"
	if s.Crop {
		method = "crop"
	}
	return fmt.Sprintf("%dx%d-%s", s.Width, s.Height, method)
}

// sizes are the sizes that the specification recommends to make, growing.
var sizes = []Size{
	{32, 32, true}, {96, 96, true}, {320, 240, false}, {640, 480, false}, {800, 600, false},
}

// Pick returns the smallest of the sizes made that is at least as large as
// what is asked for and made by the same method, or the largest one. A few
// sizes bound what one file can cost.
func Pick(width, height int, crop bool) Size {
	var last Size
	for _, s := range sizes {
		s.Crop = crop
		last = s
		if s.Width >= width && s.Height >= height {
			break
		}
	}
	return last
}

// An Image is an encoded image with its media type.
type Image struct {
	Type string
	Data []byte
}

// Make makes a thumbnail of the image that r holds. The result has no Data if
// the image is already that small; Type is then the type of the image itself.
// An error of r is returned as it is.
func Make(r io.ReadSeeker, want Size) (Image, error) {
	in := &source{r: r}
	im, err := thumbnail(in, want)
	if err != nil && in.err != nil {
		return Image{}, in.err
	}
	return im, err
}

func thumbnail(in *source, want Size) (Image, error) {
	f, ok := formatOf(in)
	if !ok || !in.rewind() {
		return Image{}, ErrUnsupported
	}
	h, err := f.head(in)
	if err != nil || h.width <= 0 || h.height <= 0 {
		return Image{}, ErrUnsupported
	}
	if h.memory > MaxMemory || int64(h.width)*int64(h.height) > f.pixels {
		return Image{}, ErrTooLarge
	}
	turn := turned(h.orientation)
	if turn {
		h.width, h.height = h.height, h.width
	}
	if h.width <= want.Width && h.height <= want.Height {
		return Image{Type: f.mediaType}, nil
	}
	if !in.rewind() {
		return Image{}, ErrUnsupported
	}
	src, err := f.decode(in)
	if err != nil {
		return Image{}, ErrUnsupported
	}
	small := orient(scale(src, want, turn), h.orientation)
	var out bytes.Buffer
	if f.mediaType == "image/jpeg" {
		if err := jpeg.Encode(&out, small, &jpeg.Options{Quality: 80}); err != nil {
			return Image{}, err
		}
		return Image{"image/jpeg", out.Bytes()}, nil
	}
	if err := png.Encode(&out, small); err != nil { // GIF may be transparent, as PNG
		return Image{}, err
	}
	return Image{"image/png", out.Bytes()}, nil
}

// A source remembers an error of its reader, which is not one of the image.
type source struct {
	r   io.ReadSeeker
	err error
}

func (s *source) Read(p []byte) (int, error) {
	n, err := s.r.Read(p)
	if err != nil && err != io.EOF {
		s.err = err
	}
	return n, err
}

func (s *source) rewind() bool {
	_, err := s.r.Seek(0, io.SeekStart)
	if err != nil {
		s.err = err
	}
	return err == nil
}

// scale returns src at the size wanted, never larger than it is; turn says
// that the wanted box is for the image turned by a quarter.
func scale(src image.Image, want Size, turn bool) *image.RGBA {
	b := src.Bounds()
	w, h := want.Width, want.Height
	if turn {
		w, h = h, w
	}
	from := b
	if want.Crop {
		w, h = min(w, b.Dx()), min(h, b.Dy())
		// The largest part of the image that has the shape of the box.
		fw, fh := b.Dx(), b.Dy()
		if fw*h > fh*w {
			fw = max(1, fh*w/h)
		} else {
			fh = max(1, fw*h/w)
		}
		from = image.Rect(0, 0, fw, fh).Add(b.Min).Add(image.Pt((b.Dx()-fw)/2, (b.Dy()-fh)/2))
	} else if b.Dx()*h > b.Dy()*w {
		h = max(1, b.Dy()*w/b.Dx())
	} else {
		w = max(1, b.Dx()*h/b.Dy())
	}
	dst := image.NewRGBA(image.Rect(0, 0, w, h))
	draw.BiLinear.Scale(dst, dst.Bounds(), src, from, draw.Src, nil)
	return dst
}

// A format is one kind of image.
type format struct {
	mediaType string
	magic     string
	pixels    int64 // the most that are decoded
	head      func(io.Reader) (head, error)
	decode    func(io.Reader) (image.Image, error)
}

// A head is what an image says of itself before it is decoded.
type head struct {
	width, height int
	// memory is what decoding takes, in bytes.
	memory int64
	// orientation is the one of Exif, 1 to 8; zero if it is not said.
	orientation int
}

var formats = []format{
	{"image/png", "\x89PNG\r\n\x1a\n", MaxPixels, pngHead, png.Decode},
	{"image/jpeg", "\xff\xd8\xff", MaxPixelsJPEG, jpegHead, jpeg.Decode},
	{"image/gif", "GIF8", MaxPixels, gifHead, gif.Decode},
}

func formatOf(r io.Reader) (format, bool) {
	var m [8]byte
	if _, err := io.ReadFull(r, m[:]); err != nil {
		return format{}, false
	}
	for _, f := range formats {
		if bytes.HasPrefix(m[:], []byte(f.magic)) {
			return f, true
		}
	}
	return format{}, false
}

func pngHead(r io.Reader) (head, error) {
	c, err := png.DecodeConfig(r)
	each := int64(4)
	switch c.ColorModel {
	case color.RGBA64Model, color.NRGBA64Model:
		each = 8
	case color.Gray16Model:
		each = 2
	case color.GrayModel:
		each = 1
	}
	// An interlaced image is put together from parts of at most half its size.
	return head{width: c.Width, height: c.Height, memory: area(c.Width, c.Height, each) * 3 / 2}, err
}

func gifHead(r io.Reader) (head, error) {
	c, err := gif.DecodeConfig(r)
	return head{width: c.Width, height: c.Height, memory: area(c.Width, c.Height, 1)}, err
}

// area returns width*height*each, or more than MaxMemory if that is very
// large.
func area(width, height int, each int64) int64 {
	if int64(width) > MaxMemory || int64(height) > MaxMemory {
		return MaxMemory + 1
	}
	return int64(width) * int64(height) * each
}
