package canonicaljson

import (
	"bytes"
	"strconv"
	"unicode/utf16"
	"unicode/utf8"
)

// MaxInt is the greatest integer that has a canonical form; -MaxInt is the
// least.
const MaxInt = 1<<53 - 1

// text reads a string at a quotation mark and writes its canonical form. If
// name is set it returns the decoded text, which may share memory with the
// input.
func (s *scanner) text(name bool) ([]byte, error) {
	s.at++
	start := s.at
	for s.at < len(s.raw) {
		switch c := s.raw[s.at]; {
		case c == '"':
			span := s.raw[start:s.at]
			s.at++
			if s.emit {
				s.out = append(s.out, '"')
				s.out = append(s.out, span...)
				s.out = append(s.out, '"')
			}
			return span, nil
		case c == '\\':
			return s.escapedText(start, name)
		case c < 0x20:
			return nil, s.notJSON("control character in a string")
		case c < utf8.RuneSelf:
			s.at++
		default:
			r, n := utf8.DecodeRune(s.raw[s.at:])
			if r == utf8.RuneError && n < 2 {
				return nil, s.notJSON("not UTF-8")
			}
			s.at += n
		}
	}
	return nil, s.notJSON("end of text in a string")
}

// escapedText continues a string that has a backslash at s.at.
func (s *scanner) escapedText(start int, name bool) ([]byte, error) {
	var decoded []byte
	s.write('"')
	put := func(b []byte) {
		if s.emit {
			s.out = append(s.out, b...)
		}
		if name {
			decoded = append(decoded, b...)
		}
	}
	put(s.raw[start:s.at])
	for s.at < len(s.raw) {
		switch c := s.raw[s.at]; {
		case c == '"':
			s.at++
			s.write('"')
			return decoded, nil
		case c == '\\':
			r, err := s.escape()
			if err != nil {
				return nil, err
			}
			if s.emit {
				s.out = appendRune(s.out, r)
			}
			if name {
				decoded = utf8.AppendRune(decoded, r)
			}
		case c < 0x20:
			return nil, s.notJSON("control character in a string")
		default:
			r, n := utf8.DecodeRune(s.raw[s.at:])
			if r == utf8.RuneError && n < 2 {
				return nil, s.notJSON("not UTF-8")
			}
			put(s.raw[s.at : s.at+n])
			s.at += n
		}
	}
	return nil, s.notJSON("end of text in a string")
}

// escape reads one escape sequence, or two that make a surrogate pair.
func (s *scanner) escape() (rune, error) {
	at := s.at
	if s.at+1 >= len(s.raw) {
		return 0, s.notJSON("end of text in a string")
	}
	c := s.raw[s.at+1]
	if i := bytes.IndexByte([]byte(`"\/bfnrt`), c); i >= 0 {
		s.at += 2
		return rune("\"\\/\b\f\n\r\t"[i]), nil
	}
	if c != 'u' {
		return 0, s.notJSON("unknown escape")
	}
	r, ok := s.hex4(s.at + 2)
	if !ok {
		return 0, s.notJSON("bad \\u escape")
	}
	s.at += 6
	if !utf16.IsSurrogate(r) {
		return r, nil
	}
	if bytes.HasPrefix(s.raw[s.at:], []byte(`\u`)) {
		low, ok := s.hex4(s.at + 2)
		if !ok {
			return 0, s.notJSON("bad \\u escape")
		}
		if pair := utf16.DecodeRune(r, low); pair != utf8.RuneError {
			s.at += 6
			return pair, nil
		}
	}
	s.notCanonical(at, "lone surrogate")
	return utf8.RuneError, nil
}

// hex4 reads the four hexadecimal digits at the offset at.
func (s *scanner) hex4(at int) (rune, bool) {
	if at+4 > len(s.raw) {
		return 0, false
	}
	var r rune
	for _, c := range s.raw[at : at+4] {
		switch {
		case c >= '0' && c <= '9':
			c -= '0'
		case c >= 'a' && c <= 'f':
			c -= 'a' - 10
		case c >= 'A' && c <= 'F':
			c -= 'A' - 10
		default:
			return 0, false
		}
		r = r<<4 | rune(c)
	}
	return r, true
}

// appendRune appends r as it appears inside a canonical string.
func appendRune(b []byte, r rune) []byte {
	switch r {
	case '"', '\\':
		return append(b, '\\', byte(r))
	case '\b':
		return append(b, `\b`...)
	case '\t':
		return append(b, `\t`...)
	case '\n':
		return append(b, `\n`...)
	case '\f':
		return append(b, `\f`...)
	case '\r':
		return append(b, `\r`...)
	}
	if r < 0x20 {
		const digits = "0123456789abcdef"
		return append(b, '\\', 'u', '0', '0', digits[r>>4], digits[r&15])
	}
	return utf8.AppendRune(b, r)
}

// number reads a number. Its canonical form is the plain decimal integer: an
// exponent is multiplied out, "-0" is 0, and anything with a decimal point,
// a negative exponent or a value beyond MaxInt has none.
func (s *scanner) number() error {
	start := s.at
	neg := s.raw[s.at] == '-'
	if neg {
		s.at++
	}
	whole := s.digits()
	if len(whole) == 0 || (whole[0] == '0' && len(whole) > 1) {
		return s.notJSON("bad number")
	}
	why := ""
	if s.at < len(s.raw) && s.raw[s.at] == '.' {
		s.at++
		if len(s.digits()) == 0 {
			return s.notJSON("bad number")
		}
		why = "number with a fraction"
	}
	var exp []byte
	if s.at < len(s.raw) && (s.raw[s.at] == 'e' || s.raw[s.at] == 'E') {
		s.at++
		if s.at < len(s.raw) && (s.raw[s.at] == '+' || s.raw[s.at] == '-') {
			if s.raw[s.at] == '-' && why == "" {
				why = "number with a negative exponent"
			}
			s.at++
		}
		if exp = s.digits(); len(exp) == 0 {
			return s.notJSON("bad number")
		}
	}
	if why == "" {
		if v, ok := integer(whole, exp); ok {
			if neg {
				v = -v
			}
			if s.emit {
				s.out = strconv.AppendInt(s.out, v, 10)
			}
			return nil
		}
		why = "integer out of range"
	}
	s.notCanonical(start, why)
	return nil
}

// digits reads any number of decimal digits.
func (s *scanner) digits() []byte {
	start := s.at
	for s.at < len(s.raw) && s.raw[s.at] >= '0' && s.raw[s.at] <= '9' {
		s.at++
	}
	return s.raw[start:s.at]
}

// integer returns whole times ten to the power exp, and whether that is at
// most MaxInt.
func integer(whole, exp []byte) (int64, bool) {
	var v int64
	for _, c := range whole {
		if v = v*10 + int64(c-'0'); v > MaxInt {
			return 0, false
		}
	}
	exp = bytes.TrimLeft(exp, "0")
	if v == 0 || len(exp) == 0 {
		return v, true
	}
	if len(exp) > 2 {
		return 0, false
	}
	n := int(exp[0] - '0')
	if len(exp) == 2 {
		n = n*10 + int(exp[1]-'0')
	}
	for range n {
		if v *= 10; v > MaxInt {
			return 0, false
		}
	}
	return v, true
}
