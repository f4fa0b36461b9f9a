package base64text

// EncodeSecret is Encode in time that depends on the length of b alone.
func EncodeSecret(b []byte) string {
	out := make([]byte, 0, (len(b)*8+5)/6)
	var acc uint32
	bits := 0
	for _, c := range b {
		acc = acc<<8 | uint32(c)
		for bits += 8; bits >= 6; {
			bits -= 6
			out = append(out, digit(acc>>bits&63))
		}
	}
	if bits > 0 {
		out = append(out, digit(acc<<(6-bits)&63))
	}
	return string(out)
}

// DecodeSecret is Decode in time that depends on the length of text alone,
// as long as text is valid.
func DecodeSecret(text string) ([]byte, error) {
	text, ok := trim(text)
	if !ok {
		return nil, ErrMalformed
	}
	out := make([]byte, 0, len(text)*6/8)
	var acc, bad uint32
	bits := 0
	for i := range len(text) {
		v, wrong := value(text[i])
		bad |= wrong
		acc = acc<<6 | v
		if bits += 6; bits >= 8 {
			bits -= 8
			out = append(out, byte(acc>>bits))
		}
	}
	bad |= acc & (1<<bits - 1)
	if bad != 0 {
		clear(out)
		return nil, ErrMalformed
	}
	return out, nil
}

// within is all ones if lo <= v <= hi, else zero. All are below 2^31.
func within(v, lo, hi uint32) uint32 {
	return ^uint32(int32((v-lo)|(hi-v)) >> 31)
}

// digit returns the digit of v, which is below 64, without a table.
func digit(v uint32) byte {
	d := within(v, 0, 25) & ('A' + v)
	d |= within(v, 26, 51) & ('a' + v - 26)
	d |= within(v, 52, 61) & ('0' + v - 52)
	d |= within(v, 62, 62) & '+'
	d |= within(v, 63, 63) & '/'
	return byte(d)
}

// value returns the value of the digit c, and all ones if c is no digit.
func value(c byte) (v, wrong uint32) {
	d := uint32(c)
	upper, lower, number := within(d, 'A', 'Z'), within(d, 'a', 'z'), within(d, '0', '9')
	plus, slash := within(d, '+', '+'), within(d, '/', '/')
	v = upper&(d-'A') | lower&(d-'a'+26) | number&(d-'0'+52) | plus&62 | slash&63
	return v, ^(upper | lower | number | plus | slash)
}
