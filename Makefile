# `make test` is everything; the rest are parts of it or helpers.

.PHONY: test unit lint cross bench build

test: cross unit ## unit, race, fuzz seeds, end to end, browser where Chromium is there

unit: ## with -race: unit tests, fuzz seeds and the end-to-end tests
	go test -race -timeout 15m ./...

cross: ## other systems must build
	GOOS=darwin go build ./... && GOOS=darwin GOARCH=arm64 go build ./...
	GOOS=windows go build ./...
	GOARCH=arm64 go build ./...

lint:
	test -z "$$(gofmt -l .)" || { gofmt -l .; exit 1; }
	go vet ./...
	go run honnef.co/go/tools/cmd/staticcheck@v0.8.1 ./...

bench: ## not run by `make test`; it compiles there
	go test -run '^$$' -bench . -benchmem ./...

build:
	go build -trimpath -o carillon .
