package db

import (
	"github.com/jackc/pgx/v5/pgconn"
)

// A viewConn is a reading connection while a view has it.
type viewConn struct {
	p *pipe
	// begin says that the view needs a snapshot for several statements; it is
	// taken together with the first of them.
	begin bool
	begun bool
}

// pipeOf returns the pipe of a connection of the pool.
func pipeOf(pc *pgconn.PgConn) *pipe {
	data := pc.CustomData()
	if p, ok := data["pipe"].(*pipe); ok {
		return p
	}
	p := newPipe(pc)
	data["pipe"] = p
	return p
}

func (v *viewConn) query(sql string, args []any, yield func(scanner) bool) error {
	var steps [2]step
	n, err := v.start(&steps[0])
	if err != nil {
		return err
	}
	if err := v.step(&steps[n], sql, args); err != nil {
		return err
	}
	v.begun = v.begin
	_, err = v.p.run(steps[:n+1], yield)
	return err
}

// start puts what takes the snapshot before the first query, and returns how
// many steps that is.
func (v *viewConn) start(s *step) (int, error) {
	if !v.begin || v.begun {
		return 0, nil
	}
	return 1, v.step(s, "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY", nil)
}

func (v *viewConn) foresee(list []foreseen) error {
	if len(list) == 0 {
		return nil
	}
	// Statements prepared for one of them must not displace those of another.
	if len(v.p.known)+len(list) >= maxKnown {
		if err := v.p.forget(); err != nil {
			return err
		}
	}
	steps := make([]step, 1+len(list))
	n, err := v.start(&steps[0])
	if err != nil {
		return err
	}
	for i := range list {
		s := &steps[n+i]
		if err := v.step(s, list[i].sql, list[i].args); err != nil {
			return err
		}
		s.answer = &list[i].answer
		s.answer.most = maxForeseenBytes
	}
	v.begun = v.begin
	_, err = v.p.run(steps[:n+len(list)], nil)
	return err
}

// step prepares and encodes a statement.
func (v *viewConn) step(s *step, sql string, args []any) (err error) {
	if s.st, err = v.p.prepare(sql); err == nil {
		s.msg, err = v.p.encode(nil, s.st, args)
	}
	return err
}

// end gives the snapshot back.
func (v *viewConn) end() error {
	if !v.begun || v.p.open {
		return nil
	}
	var s step
	if err := v.step(&s, "COMMIT", nil); err != nil {
		return err
	}
	_, err := v.p.run([]step{s}, nil)
	return err
}

func (v *viewConn) exec(string, []any) (int64, error)  { return 0, errReadOnly }
func (v *viewConn) later(string, []any, *Answer) error { return errReadOnly }
func (v *viewConn) settle(func(scanner) bool) error    { return nil }
func (v *viewConn) fatal(err error) bool               { return lost(v.p, err) }

func (v *viewConn) waits() bool { return true }
