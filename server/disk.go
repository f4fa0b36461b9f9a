package server

import (
	"log/slog"
	"math"
	"net/url"
	"path/filepath"
	"sync"
	"time"

	"github.com/quinta-chat/quinta"
)

// diskEvery is how long an answer about free disk is believed.
const diskEvery = 2 * time.Second

// A disk says whether there is room to write.
type disk struct {
	// free returns the free bytes; nil: no one asks.
	free func() (int64, error)
	min  int64
	now  func() time.Time
	log  *slog.Logger

	mu    sync.Mutex
	asked time.Time
	low   bool
}

var errDiskLow = quinta.E(quinta.KindFull, "", "the server has too little free disk space to store anything")

// check returns an error of KindFull while there is less free disk than the
// server must leave.
func (d *disk) check() error {
	if d.free == nil || d.min <= 0 {
		return nil
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if now := d.now(); d.asked.IsZero() || now.Sub(d.asked) >= diskEvery || now.Before(d.asked) {
		d.asked = now
		free, err := d.free()
		if err != nil {
			d.log.Warn("server: cannot find out how much disk space is free", "err", err)
		}
		low := err == nil && free < d.min
		if low != d.low {
			if low {
				d.log.Error("server: disk space is low: only acknowledgements and removals are accepted", "free", free, "min", d.min)
			} else {
				d.log.Info("server: there is enough free disk space again", "free", free)
			}
		}
		d.low = low
	}
	if d.low {
		return errDiskLow
	}
	return nil
}

// freeDisk returns how much disk is free where there is least of it: under an
// embedded store, and under a folder of media.
func (cfg *Config) freeDisk() (int64, error) {
	var dirs []string
	if cfg.DB.Path != "" {
		dirs = append(dirs, filepath.Dir(cfg.DB.Path))
	}
	if u, err := url.Parse(cfg.BlobURL); err == nil && u.Scheme == "file" {
		dirs = append(dirs, u.Path)
	}
	least := int64(math.MaxInt64)
	for _, dir := range dirs {
		free, err := freeDisk(dir)
		if err != nil {
			return 0, err
		}
		least = min(least, free)
	}
	return least, nil
}
