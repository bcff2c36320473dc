"""A client of the user service: client.py HOST:PORT NAME EMAIL. README.md has the commands that make it run."""
import sys

import grpc
import user_pb2
import user_pb2_grpc
from google.rpc import error_details_pb2
from grpc_status import rpc_status

SECONDS = 5  # each call has so long


def pages(users):
    token = ""
    while True:
        page = users.ListUsers(user_pb2.ListUsersRequest(page_size=2, page_token=token), timeout=SECONDS)
        yield page.users
        token = page.next_page_token
        if not token:
            return


def show(what, user):
    print(f"{what}: {user.id} {user.name} <{user.email}>")


def show_failure(error):
    """Code and message are for people; programs act on the code and on the details, here on what is missing."""
    print(f"{error.code().name}: {error.details()}")
    status = rpc_status.from_call(error)
    for detail in status.details if status else ():
        missing = error_details_pb2.ResourceInfo()
        if detail.Unpack(missing):
            print(f"  ResourceInfo: {missing.resource_type} {missing.resource_name}")


def visit(users, name, email):
    created = users.CreateUser(user_pb2.CreateUserRequest(name=name, email=email), timeout=SECONDS)
    show("created", created)
    show("got", users.GetUser(user_pb2.GetUserRequest(id=created.id), timeout=SECONDS).user)
    for number, page in enumerate(pages(users), 1):
        for user in page:
            show(f"page {number}", user)
    try:
        users.GetUser(user_pb2.GetUserRequest(id="no-such-user"), timeout=SECONDS)
    except grpc.RpcError as error:
        show_failure(error)


def main():
    if len(sys.argv) != 4:
        sys.exit("usage: client.py HOST:PORT NAME EMAIL")
    with grpc.insecure_channel(sys.argv[1]) as channel:
        try:
            visit(user_pb2_grpc.UserServiceStub(channel), *sys.argv[2:])
        except grpc.RpcError as error:
            show_failure(error)
            sys.exit(1)


if __name__ == "__main__":
    main()
