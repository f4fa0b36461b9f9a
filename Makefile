# build: the programs, in bin/
# test:  everything that must hold, with the programs that the tests need
# lint:  what needs no run
# bench: the figures
# sim:   the simulation of devices on a bad network, at length
# fuzz:  every fuzz target for a minute; make test runs each for a moment
.PHONY: build test lint bench sim fuzz

# Tests with these programs run real servers and clients as processes of
# their own, where the race detector of the test sees nothing; those of
# network/all make every call of every network, one after the other.
PROCESSES = ./cmd/... ./test/... ./testkit/... ./network/all/...

# The race detector looks at everything but SQLite, which is a program translated
# to Go of which each connection has a memory of its own, and the arithmetic of
# the standard library, which shares nothing: watched, they take two to five times
# as long. The driver that shares the connections is watched.
F = crypto/internal/fips140
UNWATCHED = github.com/ncruces/go-sqlite3-wasm/... math/big $F/aes/... $F/bigmod $F/edwards25519/... $F/hmac $F/nistec/... \
	$F/pbkdf2 $F/sha256 $F/sha3 $F/sha512
RACE = -race $(foreach p,$(UNWATCHED),'-gcflags=$(p)=-race=false')

# The simulation is one goroutine for each seed, and needs the time for seeds.
SIMULATION = ./testkit/sim

# A test that hangs ends after this; what only takes long, on a machine that has
# other things to do, must not.
AT_MOST = 14m

# Tests sync their files all the time, and wait for that more than they
# compute. So many run at once, and in memory where there is plenty of it from
# which programs can be run; what the compiler needs stays on disk.
SIDE_BY_SIDE = 8
MEMORY := $(shell d=/dev/shm; [ "$$(df -Pk $$d 2>/dev/null | awk 'END { print $$4 }')" -gt 4000000 ] 2>/dev/null && \
	t=$$(mktemp -p $$d) && printf '\043!/bin/sh\n' >$$t && chmod +x $$t && $$t && echo $$d; rm -f $$t)

# Without its traces, which nothing here shows, gRPC needs no templates; with
# templates the linker would keep every exported method there is, a quarter of
# quintad.
build:
	CGO_ENABLED=0 go build -trimpath -tags grpcnotrace -ldflags='-s -w' -o bin/ ./cmd/...

test: export QUINTA_REQUIRE_PEERS = 1
test: export GOTMPDIR := $(or $(TMPDIR),/tmp)
test: export TMPDIR := $(or $(MEMORY),$(TMPDIR),/tmp)
test:
	./testkit/peer/install.sh
	$(MAKE) --no-print-directory lint
	go test $(RACE) -parallel $(SIDE_BY_SIDE) -timeout $(AT_MOST) $$(go list ./... | grep -vxF "$$(go list $(PROCESSES))")
	CGO_ENABLED=0 go test -timeout $(AT_MOST) $(SIMULATION) -sim.seeds=1000
	CGO_ENABLED=0 go test -tags peers -timeout $(AT_MOST) $$(go list $(PROCESSES) | grep -vxF "$$(go list $(SIMULATION))")
	CGO_ENABLED=0 go run ./testkit/fuzz -each 10s -all 100s -side 2

lint:
	@bad=$$(find . -name node_modules -prune -o -name '*.go' -print | xargs gofmt -l); \
		[ -z "$$bad" ] || { echo "gofmt: $$bad"; exit 1; }
	go vet -tags peers ./...
	go tool staticcheck -tags peers ./...
	@out=$$(go tool -modfile=testkit/tools/go.mod govulncheck ./... 2>&1); case $$? in \
		0) echo "govulncheck: nothing found";; \
		3) echo "$$out"; exit 1;; \
		*) echo "govulncheck: left out, as its data cannot be had: $$(echo "$$out" | tail -n 1)";; esac
	GOARCH=386 go vet ./e2ee/... ./key ./internal/... # where an int has 32 bits
	GOOS=js GOARCH=wasm go build $(patsubst %,./%/...,$(wildcard e2ee client))
	CGO_ENABLED=0 go build ./...

# Each part is run, also after one whose bars do not hold.
bench:
	@status=0; \
	go run ./bench/crypto -out bench/results || status=1; \
	go run ./bench/client -out bench/results || status=1; \
	go run ./bench/load -window 1s -out bench/results || status=1; \
	go test -run '^$$' -bench . -benchmem -benchtime 10ms \
		$$(grep -rl '^func Benchmark' --include='*_test.go' . | xargs -n1 dirname | sort -u) || status=1; \
	exit $$status

fuzz:
	CGO_ENABLED=0 go run ./testkit/fuzz

sim:
	go test -timeout 24h $(SIMULATION) -run '^TestSimulation$$' -sim.seeds=100000
