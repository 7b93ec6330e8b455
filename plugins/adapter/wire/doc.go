// Package wire is the generated code of adapter.proto, the contract between
// Carillon and its adapters. Adapter authors in Go use package adapter instead.
package wire

//go:generate protoc --go_out=. --go_opt=paths=source_relative --go-grpc_out=. --go-grpc_opt=paths=source_relative adapter.proto
