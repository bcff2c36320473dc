//go:build tools

// The programs that tests/interop builds beside the client.
package main

import (
	_ "github.com/fullstorydev/grpcurl/cmd/grpcurl"
	_ "github.com/grpc-ecosystem/grpc-health-probe"
	_ "google.golang.org/grpc/cmd/protoc-gen-go-grpc"
	_ "google.golang.org/grpc/interop/client"
	_ "google.golang.org/grpc/interop/server"
	_ "google.golang.org/protobuf/cmd/protoc-gen-go"
)
