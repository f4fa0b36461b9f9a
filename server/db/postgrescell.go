package db

import (
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"strconv"

	"github.com/jackc/pgx/v5/pgtype"
)

// A postgresCell decodes the few column types that the schemas use, in both
// wire formats, without the detour through reflection.
type postgresCell struct {
	raw    []byte
	oid    uint32
	binary bool
}

func (c postgresCell) null() bool   { return c.raw == nil }
func (c postgresCell) text() string { return string(c.raw) }

func (c postgresCell) bytes() []byte {
	if !c.binary && c.oid == pgtype.ByteaOID && len(c.raw) >= 2 && c.raw[0] == '\\' && c.raw[1] == 'x' {
		out := make([]byte, hex.DecodedLen(len(c.raw)-2))
		if _, err := hex.Decode(out, c.raw[2:]); err == nil {
			return out
		}
	}
	return append([]byte{}, c.raw...)
}

func (c postgresCell) integer() (int64, error) {
	if !c.binary {
		switch string(c.raw) {
		case "t":
			return 1, nil
		case "f":
			return 0, nil
		}
		n, err := strconv.ParseInt(string(c.raw), 10, 64)
		if err != nil {
			return 0, errors.New("db: not a whole number")
		}
		return n, nil
	}
	switch {
	case c.oid == pgtype.BoolOID && len(c.raw) == 1:
		return int64(c.raw[0]), nil
	case c.oid == pgtype.Int8OID && len(c.raw) == 8:
		return int64(binary.BigEndian.Uint64(c.raw)), nil
	case c.oid == pgtype.Int4OID && len(c.raw) == 4:
		return int64(int32(binary.BigEndian.Uint32(c.raw))), nil
	case c.oid == pgtype.Int2OID && len(c.raw) == 2:
		return int64(int16(binary.BigEndian.Uint16(c.raw))), nil
	}
	return 0, fmt.Errorf("db: a column of type %d is not a whole number; cast it to BIGINT", c.oid)
}
