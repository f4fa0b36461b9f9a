package thumbnail

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"io"
)

var errBroken = errors.New("thumbnail: broken JPEG")

// The markers of JPEG that matter here (ITU-T T.81, table B.1).
const (
	markerSOF0  = 0xC0 // baseline
	markerSOF2  = 0xC2 // progressive
	markerSOS   = 0xDA
	markerEOI   = 0xD9
	markerAPP1  = 0xE1 // Exif
	maxSegments = 1000
	maxExif     = 64 << 10
)

// jpegHead walks the segments up to the frame header. The memory of a
// progressive image is more than that of its pixels: all coefficients are
// kept until the last scan.
func jpegHead(r io.Reader) (head, error) {
	in := bufio.NewReader(r)
	if _, err := in.Discard(2); err != nil { // the start of the image
		return head{}, err
	}
	h := head{}
	for range maxSegments {
		marker, size, err := segment(in)
		if err != nil {
			return head{}, err
		}
		switch {
		case marker >= markerSOF0 && marker <= markerSOF2:
			b := make([]byte, size)
			if _, err := io.ReadFull(in, b); err != nil {
				return head{}, err
			}
			return h, frame(&h, b, marker == markerSOF2)
		case marker == markerSOS || marker == markerEOI:
			return head{}, errBroken
		case marker == markerAPP1 && size <= maxExif && h.orientation == 0:
			b := make([]byte, size)
			if _, err := io.ReadFull(in, b); err != nil {
				return head{}, err
			}
			h.orientation = orientation(b)
		default:
			if _, err := in.Discard(size); err != nil {
				return head{}, err
			}
		}
	}
	return head{}, errBroken
}

// segment reads the marker of a segment and the size of what follows.
func segment(in *bufio.Reader) (marker byte, size int, err error) {
	if marker, err = in.ReadByte(); err != nil {
		return 0, 0, err
	}
	if marker != 0xFF {
		return 0, 0, errBroken
	}
	for marker == 0xFF { // any number of fill bytes
		if marker, err = in.ReadByte(); err != nil {
			return 0, 0, err
		}
	}
	if marker == markerEOI {
		return marker, 0, nil
	}
	var n [2]byte
	if _, err := io.ReadFull(in, n[:]); err != nil {
		return 0, 0, err
	}
	if size = int(binary.BigEndian.Uint16(n[:])) - 2; size < 0 {
		return 0, 0, errBroken
	}
	return marker, size, nil
}

// frame reads a frame header: precision, height, width, and for each
// component its id, its sampling factors and its table.
func frame(h *head, b []byte, progressive bool) error {
	if len(b) < 6 || len(b) < 6+3*int(b[5]) || b[5] == 0 {
		return errBroken
	}
	h.height, h.width = int(binary.BigEndian.Uint16(b[1:])), int(binary.BigEndian.Uint16(b[3:]))
	samples, most := 0, 1
	for i := range int(b[5]) {
		hv := b[6+3*i+1]
		n := int(hv>>4) * int(hv&15)
		samples += n
		most = max(most, n)
	}
	each := int64(1)
	if progressive {
		each = 5 // a coefficient has four bytes
	}
	h.memory = area(h.width, h.height, each) * int64(samples) / int64(most)
	if b[5] == 4 { // CMYK is assembled again
		h.memory += area(h.width, h.height, 4)
	}
	return nil
}

// orientation finds the orientation in an Exif segment (Exif 2.32, tag
// 0x0112), or returns zero.
func orientation(b []byte) int {
	b, ok := bytes.CutPrefix(b, []byte("Exif\x00\x00"))
	if !ok || len(b) < 8 {
		return 0
	}
	var order binary.ByteOrder = binary.BigEndian
	if b[0] == 'I' {
		order = binary.LittleEndian
	}
	at := int64(order.Uint32(b[4:]))
	if at+2 > int64(len(b)) {
		return 0
	}
	count := int(order.Uint16(b[at:]))
	for i := range count {
		e := at + 2 + 12*int64(i)
		if e+12 > int64(len(b)) {
			return 0
		}
		if order.Uint16(b[e:]) == 0x0112 {
			if o := int(order.Uint16(b[e+8:])); o >= 1 && o <= 8 {
				return o
			}
			return 0
		}
	}
	return 0
}
