package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"github.com/quinta-chat/quinta/cmd/quintad/config"
	"github.com/quinta-chat/quinta/server"
	"github.com/quinta-chat/quinta/server/db"
	"github.com/quinta-chat/quinta/server/quota"
)

// The files in the data folder.
const (
	storeFile   = "quinta.db"
	mediaFolder = "media"
	secretsFile = "secrets.key"
)

// coreConfig translates settings into what the core needs.
func coreConfig(c *config.Config, log *slog.Logger) server.Config {
	cfg := server.Config{
		Name:         c.Name,
		PublicURL:    c.PublicURL,
		Registration: c.Registration,
		RateLimits:   c.RateLimits,
		BlobURL:      string(c.Blobs),
		SecretsURL:   string(c.Secrets),
		MaxUpload:    int64(c.MaxUploadMiB) << 20,
		MinFreeDisk:  c.MinFreeDisk,
		Quotas: quota.Limits{
			db.ClassMedia: c.QuotaMedia, db.ClassBackup: c.QuotaBackup, db.ClassData: c.QuotaData,
			db.ClassQueue: c.QuotaQueue, db.ClassMessages: c.QuotaMessages,
		},
		MaxConnections: c.MaxConnections, MaxConnectionsPerAddress: c.MaxConnectionsPerAddress,
		MaxWebConnections: c.MaxWebConnections, MaxWebConnectionsPerAddress: c.MaxWebConnectionsPerAddress,
		Proxies: c.TrustedProxies,
		Now:     time.Now,
		Rand:    rand.Reader,
		Log:     log,

		Networks: c.Networks,
		Settings: c.Settings,
	}
	if c.Database != "" {
		cfg.DB = db.Config{URL: string(c.Database)}
	} else {
		cfg.DB = db.Config{Path: filepath.Join(c.Data, storeFile)}
	}
	if cfg.BlobURL == "" {
		dir := filepath.Join(c.Data, mediaFolder)
		if abs, err := filepath.Abs(dir); err == nil {
			dir = abs // without a working directory, opening the store fails and says so
		}
		cfg.BlobURL = folderURL(dir)
	}
	if cfg.SecretsURL == "" {
		path := filepath.Join(c.Data, secretsFile)
		if abs, err := filepath.Abs(path); err == nil {
			path = abs
		}
		cfg.SecretsURL = folderURL(path)
	}
	return cfg
}

// logger makes the log that the settings ask for.
func logger(c *config.Config, w io.Writer) *slog.Logger {
	opts := &slog.HandlerOptions{Level: c.LogLevel}
	if c.LogFormat == "json" {
		return slog.New(slog.NewJSONHandler(w, opts))
	}
	return slog.New(slog.NewTextHandler(w, opts))
}

// An opened store with its data folder.
type opened struct {
	core *server.Core
	lock *folderLock
}

// open takes the data folder, which is made if missing, and opens the core.
func (p *program) open(ctx context.Context, c *config.Config, cfg server.Config) (*opened, error) {
	if err := os.MkdirAll(c.Data, 0o700); err != nil {
		return nil, fmt.Errorf("making the data folder: %w", err)
	}
	o := &opened{}
	if c.Database == "" {
		var err error
		if o.lock, err = lockFolder(c.Data); err != nil {
			return nil, err
		}
	}
	var err error
	if o.core, err = server.Open(ctx, cfg, p.networks); err != nil {
		return nil, errors.Join(err, o.unlock())
	}
	return o, nil
}

func (o *opened) unlock() error {
	if o.lock == nil {
		return nil
	}
	return o.lock.release()
}

// close closes the store and lets go of the folder.
func (o *opened) close() error { return errors.Join(o.core.Close(), o.unlock()) }
