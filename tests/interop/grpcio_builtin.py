"""Judges health and reflection of user-service as grpcio's own packages use them: grpcio_builtin.py USER_SERVICE. When it
has said "watching", the service is to be stopped."""
import sys

import grpc
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message_factory import GetMessageClass
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase

SECONDS = 20
SERVICES = ["grpc.health.v1.Health", "grpc.reflection.v1.ServerReflection", "grpc.reflection.v1alpha.ServerReflection",
            "user.UserService"]  # fmt: skip


def check(condition, what):
    if not condition:
        sys.exit(f"FAILED: {what}")


def judge_reflection(channel):
    database = ProtoReflectionDescriptorDatabase(channel)
    check(sorted(database.get_services()) == SERVICES, database.get_services())
    check(list(database.FindAllExtensionNumbers("user.User")) == [], "extensions of user.User")
    try:
        database.FindFileContainingSymbol("no.Such")
        check(False, "no.Such was found")
    except KeyError:
        pass
    pool = DescriptorPool(database)
    service = pool.FindServiceByName("user.UserService")
    method = service.FindMethodByName("CreateUser")
    request = GetMessageClass(method.input_type)(name="Ada", email="ada.reflected@example.org")
    create = channel.unary_unary(f"/{service.full_name}/{method.name}", type(request).SerializeToString,
                                 GetMessageClass(method.output_type).FromString)  # fmt: skip
    check(create(request, timeout=SECONDS).email == request.email, "CreateUser by reflection")


def judge_checks(health):
    serving = health_pb2.HealthCheckResponse.SERVING
    for name in ("", *SERVICES):
        answer = health.Check(health_pb2.HealthCheckRequest(service=name), timeout=SECONDS)
        check(answer.status == serving, f"{name!r}: {answer}")
    try:
        health.Check(health_pb2.HealthCheckRequest(service="no.Such"), timeout=SECONDS)
        check(False, "no.Such is known")
    except grpc.RpcError as error:
        check(error.code() == grpc.StatusCode.NOT_FOUND, error)


def watch_the_drain(health):
    known = health.Watch(health_pb2.HealthCheckRequest(service="user.UserService"), timeout=SECONDS)
    unknown = health.Watch(health_pb2.HealthCheckRequest(service="no.Such"), timeout=SECONDS)
    check(next(known).status == health_pb2.HealthCheckResponse.SERVING, "the first status")
    check(next(unknown).status == health_pb2.HealthCheckResponse.SERVICE_UNKNOWN, "the status of nothing")
    print("watching", flush=True)
    check(next(known).status == health_pb2.HealthCheckResponse.NOT_SERVING, "the status in a drain")
    for stream in (known, unknown):
        try:
            check(False, f"another status: {next(stream)}")
        except grpc.RpcError as error:
            check(error.code() == grpc.StatusCode.UNAVAILABLE, error)


with grpc.insecure_channel(sys.argv[1]) as users:
    judge_reflection(users)
    judge_checks(health_pb2_grpc.HealthStub(users))
    watch_the_drain(health_pb2_grpc.HealthStub(users))
