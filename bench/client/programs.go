package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/quinta-chat/quinta/bench/machine"
)

// command is quinta as a person, whose home is a folder of the house.
func (h *house) command(ctx context.Context, who string, args ...string) *exec.Cmd {
	c := exec.CommandContext(ctx, h.quinta, append([]string{args[0], "--home", filepath.Join(h.dir, who)}, args[1:]...)...)
	c.Env = append(os.Environ(), "QUINTA_PASSWORD="+password)
	return c
}

// A use is what a process used.
type use struct {
	wall, cpu time.Duration
	// peak is its largest resident memory in bytes.
	peak int64
	out  string
}

// does runs quinta to its end.
func (h *house) does(ctx context.Context, who string, args ...string) (use, error) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Minute)
	defer cancel()
	c := h.command(ctx, who, args...)
	var out, said bytes.Buffer
	c.Stdout, c.Stderr = &out, &said
	began := time.Now()
	if err := c.Start(); err != nil {
		return use{}, err
	}
	ended := make(chan struct{})
	peak := watch(c.Process.Pid, ended)
	err := c.Wait()
	wall := time.Since(began)
	close(ended)
	if err != nil {
		return use{}, fmt.Errorf("quinta %s: %w\n%s", args[0], err, said.Bytes())
	}
	return use{wall, c.ProcessState.UserTime() + c.ProcessState.SystemTime(), <-peak, out.String()}, nil
}

// watch looks at the memory of a process until it has ended, and gives the
// most that it saw. The system keeps the peak, so that only what came after
// the last look is missed.
func watch(pid int, ended <-chan struct{}) <-chan int64 {
	out := make(chan int64, 1)
	go func() {
		var peak int64
		tick := time.NewTicker(5 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-ended:
				out <- peak
				return
			case <-tick.C:
				// A process that has just ended has no memory to look at.
				if m, err := machine.Peak(pid); err == nil {
					peak = max(peak, m)
				}
			}
		}
	}()
	return out
}

// enter logs a person in.
func (h *house) enter(ctx context.Context, who string) error {
	_, err := h.does(ctx, who, "login", "matrix", "http://"+h.srv.Addr, who)
	return err
}

// firstSync logs alice in and lists her rooms, for which the program first
// takes in all there is.
func (h *house) firstSync(ctx context.Context, r *report) error {
	if err := h.enter(ctx, "alice"); err != nil {
		return err
	}
	before, err := h.srv.CPU()
	if err != nil {
		return err
	}
	u, err := h.does(ctx, "alice", "rooms", "--timeout", "9m")
	if err != nil {
		return err
	}
	after, err := h.srv.CPU()
	if err != nil {
		return err
	}
	if n := strings.Count(u.out, "\n"); n != h.rooms {
		return fmt.Errorf("after the first sync there are %d rooms, not %d", n, h.rooms)
	}
	got, err := h.does(ctx, "alice", "read", "!room0001:"+machine.ServerName, "--limit", "1000")
	if err != nil {
		return err
	}
	if n, want := strings.Count(got.out, "message "), h.events/h.rooms; n != want {
		return fmt.Errorf("after the first sync there are %d messages in a room, not %d", n, want)
	}
	what := fmt.Sprintf("first sync of %d rooms, %d events", h.rooms, h.events)
	r.value(what, u.wall.Seconds(), "s", 0)
	r.value(what+": client CPU", u.cpu.Seconds(), "s", barSync)
	r.value(what+": client CPU an event", float64(u.cpu.Microseconds())/float64(h.events), "us", 0)
	r.value(what+": events a second of client CPU", float64(h.events)/u.cpu.Seconds(), "/s", 0)
	r.value(what+": server CPU", (after - before).Seconds(), "s", 0)
	r.value(what+": client memory at its peak", mb(u.peak), "MB", barSyncPeak)
	return nil
}

// send measures a message from the start of the process to its end, when the
// server has it: in a room with another person's device, with all the rooms
// beside it.
func (h *house) send(ctx context.Context, r *report) error {
	if err := h.enter(ctx, "bob"); err != nil {
		return err
	}
	if _, err := h.does(ctx, "bob", "rooms"); err != nil {
		return err
	}
	if _, err := h.does(ctx, "alice", "create", "--name", "speed"); err != nil {
		return err
	}
	if _, err := h.does(ctx, "alice", "invite", "speed", "@bob:"+machine.ServerName); err != nil {
		return err
	}
	var walls, cpus []time.Duration
	var peak int64
	for i := range h.sends + 1 {
		u, err := h.does(ctx, "alice", "send", "speed", "hello")
		if err != nil {
			return err
		}
		if i == 0 {
			continue // with the first one the key goes out
		}
		walls, cpus, peak = append(walls, u.wall), append(cpus, u.cpu), max(peak, u.peak)
	}
	r.value("send from a cold start, median", ms(median(walls)), "ms", 0)
	r.value("send from a cold start, the quickest", ms(slices.Min(walls)), "ms", 0)
	r.value("send from a cold start: CPU, median", ms(median(cpus)), "ms", barSend)
	r.value("send from a cold start: memory at its peak", mb(peak), "MB", 0)
	return nil
}

// wait leaves a program alone that waits for messages.
func (h *house) wait(ctx context.Context, r *report) (err error) {
	c := h.command(ctx, "alice", "tail")
	var said bytes.Buffer
	c.Stderr = &said
	if err := c.Start(); err != nil {
		return err
	}
	done := make(chan error, 1)
	go func() { done <- c.Wait() }()
	defer func() {
		if serr := c.Process.Signal(os.Interrupt); serr != nil && !errors.Is(serr, os.ErrProcessDone) {
			err = errors.Join(err, serr)
		}
		select {
		case werr := <-done:
			if _, ended := errors.AsType[*exec.ExitError](werr); werr != nil && !ended {
				err = errors.Join(err, werr)
			}
		case <-time.After(30 * time.Second):
			err = errors.Join(err, errors.New("quinta tail did not end"), c.Process.Kill())
		}
	}()
	logf("quinta tail is left alone for %s", h.idle)
	select {
	case werr := <-done:
		done <- werr
		return fmt.Errorf("quinta tail ended: %w\n%s", werr, said.Bytes())
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(h.idle):
	}
	m, err := machine.Memory(c.Process.Pid)
	if err != nil {
		return err
	}
	st, err := machine.StatOf(c.Process.Pid)
	if err != nil {
		return err
	}
	r.value(fmt.Sprintf("idle tail of %d rooms: memory", h.rooms+1), mb(m), "MB", barIdle)
	r.value("idle tail: CPU since its start", st.Own.Seconds(), "s", 0)
	return nil
}

func mb(n int64) float64 { return float64(n) / 1e6 }

func ms(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

func median(list []time.Duration) time.Duration {
	s := slices.Sorted(slices.Values(list))
	return s[len(s)/2]
}
