# build: the programs, in bin/
# test:  everything that must hold, with the programs that the tests need
# lint:  what needs no run
# bench: the figures
# sim:   the simulation of devices on a bad network, at length
.PHONY: build test lint bench sim

# Tests with these programs run real servers and clients as processes of
# their own, where the race detector of the test sees nothing.
PROCESSES = ./cmd/... ./test/... ./testkit/...

build:
	CGO_ENABLED=0 go build -trimpath -o bin/ ./cmd/...

test: export QUINTA_REQUIRE_PEERS = 1
test:
	./testkit/peer/install.sh
	$(MAKE) --no-print-directory lint
	go test -race -timeout 9m $$(go list ./... | grep -vxF "$$(go list $(PROCESSES))")
	go test -tags peers -timeout 9m $(PROCESSES)

lint:
	@bad=$$(find . -name node_modules -prune -o -name '*.go' -print | xargs gofmt -l); \
		[ -z "$$bad" ] || { echo "gofmt: $$bad"; exit 1; }
	go vet -tags peers ./...
	go tool staticcheck -tags peers ./...
	GOOS=js GOARCH=wasm go build $(patsubst %,./%/...,$(wildcard e2ee client))
	CGO_ENABLED=0 go build ./...

bench:
	go run ./bench/crypto
	go run ./bench/load -out bench/results
	go test -run '^$$' -bench . -benchmem ./...

sim:
	go test ./e2ee/matrix -run '^TestSimulation$$' -sim.seeds=100000 -timeout 24h
