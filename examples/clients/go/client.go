// Client is a client of the user service: client HOST:PORT NAME EMAIL. README.md has the commands that make it run.
package main

import (
	"context"
	"fmt"
	"os"

	"google.golang.org/genproto/googleapis/rpc/code"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"

	"weft.example/user-client/userpb"
)

// Each call has five seconds, or less if its context says so.
const serviceConfig = `{"methodConfig": [{"name": [{}], "timeout": "5s"}]}`

type person interface {
	GetId() string
	GetName() string
	GetEmail() string
}

func show(what string, user person) {
	fmt.Printf("%s: %s %s <%s>\n", what, user.GetId(), user.GetName(), user.GetEmail())
}

// Code and message are for people; programs act on the code and on the details, here on what is missing.
func showFailure(err error) {
	failure := status.Convert(err)
	fmt.Printf("%v: %s\n", code.Code(failure.Code()), failure.Message())
	for _, detail := range failure.Details() {
		if missing, ok := detail.(*errdetails.ResourceInfo); ok {
			fmt.Printf("  ResourceInfo: %s %s\n", missing.GetResourceType(), missing.GetResourceName())
		}
	}
}

func list(ctx context.Context, users userpb.UserServiceClient) error {
	request := &userpb.ListUsersRequest{PageSize: 2}
	for number := 1; ; number++ {
		page, err := users.ListUsers(ctx, request)
		if err != nil {
			return err
		}
		for _, user := range page.GetUsers() {
			show(fmt.Sprintf("page %d", number), user)
		}
		if request.PageToken = page.GetNextPageToken(); request.PageToken == "" {
			return nil
		}
	}
}

func visit(ctx context.Context, users userpb.UserServiceClient, name, email string) error {
	created, err := users.CreateUser(ctx, &userpb.CreateUserRequest{Name: name, Email: email})
	if err != nil {
		return err
	}
	show("created", created)
	got, err := users.GetUser(ctx, &userpb.GetUserRequest{Id: created.GetId()})
	if err != nil {
		return err
	}
	show("got", got.GetUser())
	if err := list(ctx, users); err != nil {
		return err
	}
	if _, err := users.GetUser(ctx, &userpb.GetUserRequest{Id: "no-such-user"}); err != nil {
		showFailure(err)
	}
	return nil
}

func main() {
	if len(os.Args) != 4 {
		fmt.Fprintln(os.Stderr, "usage: client HOST:PORT NAME EMAIL")
		os.Exit(2)
	}
	conn, err := grpc.NewClient(os.Args[1], grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithDefaultServiceConfig(serviceConfig))
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(2)
	}
	defer conn.Close()
	if err := visit(context.Background(), userpb.NewUserServiceClient(conn), os.Args[2], os.Args[3]); err != nil {
		showFailure(err)
		os.Exit(1)
	}
}
