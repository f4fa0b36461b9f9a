// Package stores runs a storage test on every engine that the server knows.
package stores

import (
	"log/slog"
	"path/filepath"
	"testing"
	"time"

	"github.com/quinta-chat/quinta/server/db"
	"github.com/quinta-chat/quinta/testkit/peer/postgres"
)

// Engines lists the names of the engines, as Each names its subtests.
var Engines = []string{"sqlite", "postgres"}

// Each runs fn as a parallel subtest on a fresh store of every engine.
func Each(t *testing.T, fn func(t *testing.T, d *db.DB), schemas ...db.Schema) {
	t.Helper()
	for _, engine := range Engines {
		t.Run(engine, func(t *testing.T) {
			t.Parallel()
			fn(t, Open(t, Config(t, engine), schemas...))
		})
	}
}

// Config returns the configuration of a fresh, empty store of the engine. It
// can be opened, closed and opened again during the test.
func Config(t testing.TB, engine string) db.Config {
	t.Helper()
	cfg := db.Config{Now: time.Now, Log: slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelWarn}))}
	switch engine {
	case "sqlite":
		cfg.Path = filepath.Join(t.TempDir(), "quinta.db")
	case "postgres":
		cfg.URL = postgres.URL(t)
	default:
		t.Fatalf("no engine %q", engine)
	}
	return cfg
}

// Open opens a store and closes it at the end of the test.
func Open(t testing.TB, cfg db.Config, schemas ...db.Schema) *db.DB {
	t.Helper()
	d, err := db.Open(t.Context(), cfg, schemas...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := d.Close(); err != nil {
			t.Error(err)
		}
	})
	return d
}
