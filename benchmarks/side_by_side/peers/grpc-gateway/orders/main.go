// The gRPC service behind every gateway: it looks at what it got and answers at once.
//
//	orders PORT
package main

import (
	"context"
	"log"
	"net"
	"os"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	pb "hms/bench/orderspb"
)

type service struct {
	pb.UnimplementedOrdersServer
}

func (service) PlaceOrder(_ context.Context, order *pb.Order) (*pb.Order, error) {
	if order.Id != 4711 || (len(order.Lines) != 2 && len(order.Lines) != 100) {
		return nil, status.Error(codes.InvalidArgument, "this is not what the bench sends")
	}
	return order, nil
}

func (service) Feed(request *pb.FeedRequest, stream grpc.ServerStreamingServer[pb.Tick]) error {
	tick := &pb.Tick{County: "Calaveras"}
	for n := int32(0); n < request.Count; n++ {
		tick.Number, tick.Votes = n+1, 10000+int64(n)
		if err := stream.Send(tick); err != nil {
			return err
		}
	}
	return nil
}

func main() {
	listener, err := net.Listen("tcp", "127.0.0.1:"+os.Args[1])
	if err != nil {
		log.Fatal(err)
	}
	server := grpc.NewServer()
	pb.RegisterOrdersServer(server, service{})
	log.Fatal(server.Serve(listener))
}
