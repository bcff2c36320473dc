// Client judges Weft's servers as a grpc-go client: client USER_SERVICE PROBE_SERVER.
package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"strings"
	"sync"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/encoding/gzip"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"weft.test/interop/probepb"
	"weft.test/interop/userpb"
)

const missingID = "01890a5d-ac96-774b-bcce-b302099a8057"

type clients struct {
	users userpb.UserServiceClient
	probe probepb.ProbeClient
}

// want returns an error unless err has this code and its message contains text.
func want(code codes.Code, text string, err error) error {
	if status.Code(err) != code || !strings.Contains(status.Convert(err).Message(), text) {
		return fmt.Errorf("wanted %v %q, got %v", code, text, err)
	}
	return nil
}

// badField returns an error unless err has one detail, a BadRequest that names this field.
func badField(field string, err error) error {
	details := status.Convert(err).Details()
	if len(details) == 1 {
		if bad, ok := details[0].(*errdetails.BadRequest); ok && bad.GetFieldViolations()[0].GetField() == field {
			return nil
		}
	}
	return fmt.Errorf("wanted a BadRequest for %s, got %v", field, details)
}

func users(ctx context.Context, c clients) error {
	created, err := c.users.CreateUser(ctx, &userpb.CreateUserRequest{Name: "Ада", Email: "ada.go@example.org"})
	if err != nil {
		return err
	}
	got, err := c.users.GetUser(ctx, &userpb.GetUserRequest{Id: created.Id})
	if err != nil {
		return err
	}
	if got.User.GetId() != created.Id || got.User.GetName() != "Ада" || got.User.GetEmail() != "ada.go@example.org" {
		return fmt.Errorf("created %v, got %v", created, got)
	}
	_, err = c.users.GetUser(ctx, &userpb.GetUserRequest{Id: missingID})
	if err := want(codes.NotFound, missingID, err); err != nil {
		return err
	}
	_, err = c.users.CreateUser(ctx, &userpb.CreateUserRequest{Name: "A", Email: "nowhere"})
	if err := want(codes.InvalidArgument, "email ", err); err != nil {
		return err
	}
	if err := badField("email", err); err != nil {
		return err
	}
	_, err = c.users.CreateUser(ctx, &userpb.CreateUserRequest{Name: "A", Email: "ADA.GO@example.org"})
	return want(codes.AlreadyExists, "email", err)
}

func statuses(ctx context.Context, c clients) error {
	const text = "Grüße\n100 %"
	for code := codes.Code(1); code <= 16; code++ {
		_, err := c.probe.Echo(ctx, &probepb.EchoRequest{Code: int32(code), Message: text})
		if err := want(code, text, err); err != nil {
			return err
		}
	}
	return nil
}

func metadataBack(ctx context.Context, c clients) error {
	binary := make([]byte, 256)
	for i := range binary {
		binary[i] = byte(i)
	}
	ctx = metadata.AppendToOutgoingContext(ctx, "head-text", "a b", "head-data-bin", string(binary), "tail-text", "c")
	var headers, trailers metadata.MD
	if _, err := c.probe.Echo(ctx, &probepb.EchoRequest{}, grpc.Header(&headers), grpc.Trailer(&trailers)); err != nil {
		return err
	}
	got := fmt.Sprintf("%q %q %q", headers["head-text"], headers["head-data-bin"], trailers["tail-text"])
	if expected := fmt.Sprintf("%q %q %q", []string{"a b"}, []string{string(binary)}, []string{"c"}); got != expected {
		return fmt.Errorf("sent %s, got %s", expected, got)
	}
	return nil
}

func deadlines(_ context.Context, c clients) error {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	answer, err := c.probe.Echo(ctx, &probepb.EchoRequest{})
	if err != nil {
		return err
	}
	if answer.RemainingMs <= 20000 || answer.RemainingMs > 30100 {
		return fmt.Errorf("the server saw %d ms of 30 s", answer.RemainingMs)
	}
	short, cancelShort := context.WithTimeout(context.Background(), 200*time.Millisecond)
	defer cancelShort()
	_, err = c.probe.Echo(short, &probepb.EchoRequest{WaitMs: 1500})
	return want(codes.DeadlineExceeded, "", err)
}

func largeMessages(ctx context.Context, c clients) error {
	answer, err := c.probe.Echo(ctx, &probepb.EchoRequest{PayloadBytes: 3500000})
	if err != nil {
		return err
	}
	expected := make([]byte, 3500000)
	for i := range expected {
		expected[i] = byte(i)
	}
	if !bytes.Equal(answer.Payload, expected) {
		return fmt.Errorf("the payload came back wrong")
	}
	_, err = c.probe.Echo(ctx, &probepb.EchoRequest{Message: strings.Repeat("x", 5<<20)})
	return want(codes.ResourceExhausted, "", err)
}

func compression(ctx context.Context, c clients) error {
	var trailers metadata.MD
	text := strings.Repeat("x", 10000)
	ctx = metadata.AppendToOutgoingContext(ctx, "compress", "1")
	answer, err := c.probe.Echo(ctx, &probepb.EchoRequest{Message: text}, grpc.UseCompressor(gzip.Name), grpc.Trailer(&trailers))
	if err != nil {
		return err
	}
	if told := trailers.Get("compressed"); answer.Message != text || len(told) != 1 || told[0] != "1" {
		return fmt.Errorf("%d bytes came back of %d; compressed: %v", len(answer.Message), len(text), told)
	}
	return nil
}

func manyAtOnce(ctx context.Context, c clients) error {
	errs := make(chan error, 200)
	var all sync.WaitGroup
	for i := 0; i < cap(errs); i++ {
		all.Add(1)
		go func(text string) {
			defer all.Done()
			answer, err := c.probe.Echo(ctx, &probepb.EchoRequest{Message: text})
			if err == nil && answer.Message != text {
				err = fmt.Errorf("sent %s, got %s", text, answer.Message)
			}
			errs <- err
		}(fmt.Sprint(i))
	}
	all.Wait()
	close(errs)
	for err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

func dial(target string) *grpc.ClientConn {
	connection, err := grpc.NewClient(target, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(2)
	}
	return connection
}

func main() {
	c := clients{userpb.NewUserServiceClient(dial(os.Args[1])), probepb.NewProbeClient(dial(os.Args[2]))}
	cases := []struct {
		name string
		run  func(context.Context, clients) error
	}{
		{"creates and fetches users", users},
		{"gets every status code with its message", statuses},
		{"gets metadata back in headers and trailers", metadataBack},
		{"has its deadline seen and kept", deadlines},
		{"carries large messages", largeMessages},
		{"has both ways compressed", compression},
		{"makes many calls at once", manyAtOnce},
	}
	failed := 0
	for _, test := range cases {
		ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
		if err := test.run(ctx, c); err != nil {
			fmt.Printf("FAILED: %s: %v\n", test.name, err)
			failed++
		} else {
			fmt.Printf("ok: %s\n", test.name)
		}
		cancel()
	}
	fmt.Printf("%d passed, %d failed\n", len(cases)-failed, failed)
	if failed > 0 {
		os.Exit(1)
	}
}
