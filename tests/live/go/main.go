// gRPC's own client for Go, through the gateway: unary, all three kinds of streams, a deadline, a refusal.
// Prints what it saw as JSON.
package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/encoding/gzip"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/protowire"
)

// raw passes messages as bytes: those of flow.Flow are small enough to be written here.
type raw struct{}

func (raw) Marshal(v any) ([]byte, error)      { return *v.(*[]byte), nil }
func (raw) Unmarshal(data []byte, v any) error { *v.(*[]byte) = append([]byte{}, data...); return nil }
func (raw) Name() string                       { return "proto" }

// number is a message whose field 1 is n, as in CountRequest and Tick.
func number(n uint64) *[]byte {
	message := protowire.AppendVarint(protowire.AppendTag(nil, 1, protowire.VarintType), n)
	return &message
}

// first reads field 1 of a message, as in Tick and Total.
func first(message []byte) uint64 {
	for len(message) > 0 {
		field, kind, size := protowire.ConsumeTag(message)
		message = message[size:]
		if field == 1 && kind == protowire.VarintType {
			n, _ := protowire.ConsumeVarint(message)
			return n
		}
		message = message[protowire.ConsumeFieldValue(field, kind, message):]
	}
	return 0
}

func must(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func dial(address, authority string) *grpc.ClientConn {
	secure := insecure.NewCredentials()
	if authority != "" {
		pem, err := os.ReadFile(authority)
		must(err)
		roots := x509.NewCertPool()
		roots.AppendCertsFromPEM(pem)
		secure = credentials.NewTLS(&tls.Config{RootCAs: roots, ServerName: "gateway.example"})
	}
	connection, err := grpc.NewClient("passthrough:///"+address, grpc.WithTransportCredentials(secure),
		grpc.WithDefaultCallOptions(grpc.ForceCodec(raw{})))
	must(err)
	return connection
}

func drain(stream grpc.ClientStream) ([]uint64, error) {
	seen := []uint64{}
	for {
		var message []byte
		if err := stream.RecvMsg(&message); errors.Is(err, io.EOF) {
			return seen, nil
		} else if err != nil {
			return seen, err
		}
		seen = append(seen, first(message))
	}
}

func main() {
	connection := dial(os.Args[1], os.Args[3])
	defer connection.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	anonymous := ctx
	if os.Args[2] != "" {
		ctx = metadata.AppendToOutgoingContext(ctx, "authorization", "Bearer "+os.Args[2])
	}
	told := map[string]any{}

	var once []byte
	must(connection.Invoke(ctx, "/flow.Flow/Once", number(3), &once, grpc.UseCompressor(gzip.Name)))
	told["once"] = first(once)

	down, err := connection.NewStream(ctx, &grpc.StreamDesc{ServerStreams: true}, "/flow.Flow/Follow")
	must(err)
	must(down.SendMsg(number(3)))
	must(down.CloseSend())
	told["follow"], err = drain(down)
	must(err)

	up, err := connection.NewStream(ctx, &grpc.StreamDesc{ClientStreams: true}, "/flow.Flow/Sum")
	must(err)
	must(up.SendMsg(number(4)))
	must(up.SendMsg(number(5)))
	must(up.CloseSend())
	var total []byte
	must(up.RecvMsg(&total))
	told["sum"] = first(total)

	both, err := connection.NewStream(ctx, &grpc.StreamDesc{ClientStreams: true, ServerStreams: true}, "/flow.Flow/Echo")
	must(err)
	echoed := []uint64{}
	for n := uint64(1); n <= 3; n++ {
		must(both.SendMsg(number(n)))
		var message []byte
		must(both.RecvMsg(&message))
		echoed = append(echoed, first(message))
	}
	must(both.CloseSend())
	rest, err := drain(both)
	must(err)
	told["echo"] = append(echoed, rest...)

	refused, err := connection.NewStream(ctx, &grpc.StreamDesc{ClientStreams: true}, "/flow.Flow/Sum")
	must(err)
	must(refused.SendMsg(number(13)))
	err = refused.RecvMsg(&total)
	told["refused"] = []any{status.Code(err).String(), len(status.Convert(err).Details())}

	told["unknown"] = status.Code(connection.Invoke(ctx, "/flow.Flow/Nothing", number(1), &once)).String()
	told["anonymous"] = status.Code(connection.Invoke(anonymous, "/flow.Flow/Once", number(1), &once)).String()

	soon, stop := context.WithTimeout(ctx, 200*time.Millisecond)
	defer stop()
	waiting, err := connection.NewStream(soon, &grpc.StreamDesc{ServerStreams: true}, "/flow.Flow/Follow")
	must(err)
	wait := append(*number(3), 0x38, 1) // CountRequest.wait
	must(waiting.SendMsg(&wait))
	must(waiting.CloseSend())
	_, err = drain(waiting)
	told["late"] = status.Code(err).String()

	must(json.NewEncoder(os.Stdout).Encode(told))
}
