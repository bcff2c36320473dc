"""Judges Weft's servers as a Python grpcio client: grpcio_client.py USER_SERVICE PROBE_SERVER INTEROP_SERVER, with
the stubs on the path."""
import queue
import sys
import unittest
from pathlib import Path

import grpc
import probe_pb2
import probe_pb2_grpc
import user_pb2
import user_pb2_grpc
from google.rpc import error_details_pb2
from grpc_status import rpc_status

# The suite's package lies in grpc.testing, below a name that grpcio has taken.
grpc.__path__.append(str(Path(probe_pb2.__file__).parent / "grpc"))
from grpc.testing import empty_pb2, messages_pb2, test_pb2_grpc

MISSING_ID = "01890a5d-ac96-774b-bcce-b302099a8057"
SECONDS = 20


class Case(unittest.TestCase):
    target = ""

    def setUp(self):
        self.channel = grpc.insecure_channel(self.target)
        self.addCleanup(self.channel.close)

    def fails(self, code, call, *arguments, **options):
        with self.assertRaises(grpc.RpcError) as caught:
            call(*arguments, timeout=options.pop("timeout", SECONDS), **options)
        self.assertEqual(caught.exception.code(), code, caught.exception.details())
        return caught.exception

    def details(self, error):
        """The details of a failure, as google.rpc.Status; grpc_status refuses a code or message that differs."""
        status = rpc_status.from_call(error)
        self.assertIsNotNone(status, "no details")
        return status.details

    def detail(self, error, kind):
        """The only detail of a failure, which must be of this type."""
        (packed,) = self.details(error)
        message = kind()
        self.assertTrue(packed.Unpack(message), packed.type_url)
        return message


class Users(Case):
    def setUp(self):
        super().setUp()
        self.users = user_pb2_grpc.UserServiceStub(self.channel)

    def create(self, email, name="Ada Lovelace", **more):
        return self.users.CreateUser(user_pb2.CreateUserRequest(name=name, email=email, **more), timeout=SECONDS)

    def test_creates_and_fetches_a_user(self):
        created = self.create("ada@example.org")
        self.assertEqual((created.name, created.email), ("Ada Lovelace", "ada@example.org"))
        fetched = self.users.GetUser(user_pb2.GetUserRequest(id=created.id), timeout=SECONDS).user
        self.assertEqual((fetched.id, fetched.name, fetched.email), (created.id, created.name, created.email))

    def test_keeps_names_of_any_script(self):
        name = "Ада Лавлейс 爱达 \U0001f9ee"
        created = self.create("ada.wide@example.org", name)
        self.assertEqual(self.users.GetUser(user_pb2.GetUserRequest(id=created.id), timeout=SECONDS).user.name, name)

    def test_a_missing_user_is_not_found(self):
        error = self.fails(grpc.StatusCode.NOT_FOUND, self.users.GetUser, user_pb2.GetUserRequest(id=MISSING_ID))
        self.assertIn(MISSING_ID, error.details())
        info = self.detail(error, error_details_pb2.ResourceInfo)
        self.assertEqual((info.resource_type, info.resource_name), ("user", MISSING_ID))

    def test_a_bad_email_is_an_invalid_argument_that_names_the_field(self):
        request = user_pb2.CreateUserRequest(name="Ada", email="no address")
        error = self.fails(grpc.StatusCode.INVALID_ARGUMENT, self.users.CreateUser, request)
        self.assertTrue(error.details().startswith("email "), error.details())
        (violation,) = self.detail(error, error_details_pb2.BadRequest).field_violations
        self.assertEqual((violation.field, violation.description), ("email", error.details()[len("email "):]))  # fmt: skip

    def test_the_same_email_in_other_letters_already_exists(self):
        self.create("twice@example.org")
        request = user_pb2.CreateUserRequest(name="Ada", email="Twice@Example.ORG")
        error = self.fails(grpc.StatusCode.ALREADY_EXISTS, self.users.CreateUser, request)
        info = self.detail(error, error_details_pb2.ErrorInfo)
        self.assertEqual((info.reason, info.domain), ("EMAIL_TAKEN", "user.UserService"))

    def test_updates_lists_and_deletes(self):
        created = self.create("changing@example.org")
        changed = self.users.UpdateUser(user_pb2.UpdateUserRequest(id=created.id, name="Countess"), timeout=SECONDS)
        self.assertEqual((changed.user.name, changed.user.email), ("Countess", "changing@example.org"))
        ids, token = [], ""
        while True:
            page = self.users.ListUsers(user_pb2.ListUsersRequest(page_size=1, page_token=token), timeout=SECONDS)
            ids += [user.id for user in page.users]
            token = page.next_page_token
            if not token:
                break
        self.assertIn(created.id, ids)
        self.assertEqual(len(set(ids)), len(ids))
        self.users.DeleteUser(user_pb2.DeleteUserRequest(id=created.id), timeout=SECONDS)
        self.fails(grpc.StatusCode.NOT_FOUND, self.users.DeleteUser, user_pb2.DeleteUserRequest(id=created.id))

    def test_authenticates_with_the_right_password_only(self):
        self.create("secret@example.org", password="correct horse")
        request = user_pb2.AuthenticateRequest(email="secret@example.org", password="correct horse")
        self.assertEqual(self.users.Authenticate(request, timeout=SECONDS).user.email, "secret@example.org")
        request.password = "wrong horse"
        self.fails(grpc.StatusCode.UNAUTHENTICATED, self.users.Authenticate, request)

    def test_takes_metadata_text_and_binary(self):
        metadata = (("x-request-id", "42"), ("x-trace-bin", bytes(range(256))))
        request = user_pb2.GetUserRequest(id=MISSING_ID)
        self.fails(grpc.StatusCode.NOT_FOUND, self.users.GetUser, request, metadata=metadata)

    def test_a_call_past_its_deadline_ends(self):
        request = user_pb2.CreateUserRequest(name="Late", email="late@example.org", password="twelve rounds")
        self.fails(grpc.StatusCode.DEADLINE_EXCEEDED, self.users.CreateUser, request, timeout=0.001)


class Probe(Case):
    def setUp(self):
        super().setUp()
        self.echo = probe_pb2_grpc.ProbeStub(self.channel).Echo
        self.echo_inline = probe_pb2_grpc.ProbeStub(self.channel).EchoInline

    def test_every_status_code_comes_with_its_message(self):
        message = "line one\nline two, 100 %, Grüße \U0001f44b"
        for code in grpc.StatusCode:
            if code is grpc.StatusCode.OK:
                continue
            request = probe_pb2.EchoRequest(code=code.value[0], message=message)
            for method in (self.echo, self.echo_inline):
                self.assertEqual(self.fails(code, method, request).details(), message)

    def test_metadata_comes_back_in_headers_and_trailers(self):
        metadata = (("head-text", "a b"), ("head-data-bin", bytes(range(256))), ("head-text", "c"),
                    ("tail-text", "~"), ("tail-data-bin", b""))  # fmt: skip
        _, call = self.echo.with_call(probe_pb2.EchoRequest(message="m"), metadata=metadata, timeout=SECONDS)
        headers = [tuple(pair) for pair in call.initial_metadata() if pair[0].startswith("head-")]
        trailers = [tuple(pair) for pair in call.trailing_metadata() if pair[0].startswith("tail-")]
        self.assertEqual(sorted(headers), sorted(pair for pair in metadata if pair[0].startswith("head-")))
        self.assertEqual(sorted(trailers), sorted(pair for pair in metadata if pair[0].startswith("tail-")))

    def test_metadata_comes_with_a_failure_too(self):
        request = probe_pb2.EchoRequest(code=9, message="no")
        error = self.fails(grpc.StatusCode.FAILED_PRECONDITION, self.echo, request, metadata=(("tail-why", "because"),))
        self.assertIn(("tail-why", "because"), [tuple(pair) for pair in error.trailing_metadata()])

    def test_details_come_typed_and_in_order(self):
        message = "100 %, Grüße\n"
        for method in (self.echo, self.echo_inline):
            request = probe_pb2.EchoRequest(code=grpc.StatusCode.ABORTED.value[0], message=message)
            error = self.fails(grpc.StatusCode.ABORTED, method, request, metadata=(("details", "1"),))
            info, bad, retry = (error_details_pb2.ErrorInfo(), error_details_pb2.BadRequest(),
                                error_details_pb2.RetryInfo())  # fmt: skip
            packed = self.details(error)
            self.assertEqual([one.Unpack(into) for one, into in zip(packed, (info, bad, retry), strict=True)], [True] * 3)
            self.assertEqual((info.reason, info.domain, dict(info.metadata)), ("PROBED", "probe.example.org", {"limit": "12"}))
            self.assertEqual([(one.field, one.description) for one in bad.field_violations],
                             [("message", "is wrong"), ("tree.children", "are Grüße")])  # fmt: skip
            self.assertEqual(retry.retry_delay.ToMilliseconds(), 1500)

    def test_a_failure_without_details_has_none(self):
        error = self.fails(grpc.StatusCode.ABORTED, self.echo, probe_pb2.EchoRequest(code=10, message="m"))
        self.assertIsNone(rpc_status.from_call(error))

    def test_metadata_of_one_key_keeps_its_order(self):
        metadata = [(key, value) for value in (b"2", b"", b"1", b"a,b", b"2")
                    for key in ("head-data-bin", "tail-data-bin")]  # fmt: skip
        metadata += [("head-text", "2"), ("tail-text", "1"), ("head-text", "1"), ("head-text", "2"), ("tail-text", "")]
        _, call = self.echo.with_call(probe_pb2.EchoRequest(message="m"), metadata=metadata, timeout=SECONDS)
        for key in ("head-text", "head-data-bin"):
            self.assertEqual([value for name, value in call.initial_metadata() if name == key],
                             [value for name, value in metadata if name == key])  # fmt: skip
        for key in ("tail-text", "tail-data-bin"):
            self.assertEqual([value for name, value in call.trailing_metadata() if name == key],
                             [value for name, value in metadata if name == key])  # fmt: skip

    def test_the_server_sees_the_deadline(self):
        left = self.echo(probe_pb2.EchoRequest(), timeout=30).remaining_ms
        self.assertTrue(20_000 < left <= 30_100, left)
        self.assertEqual(self.echo(probe_pb2.EchoRequest()).remaining_ms, 0)

    def test_a_call_past_its_deadline_ends(self):
        request = probe_pb2.EchoRequest(wait_ms=1500)
        self.fails(grpc.StatusCode.DEADLINE_EXCEEDED, self.echo, request, timeout=0.2)

    def test_large_answers_and_requests_within_the_limits(self):
        answer = self.echo(probe_pb2.EchoRequest(payload_bytes=3_500_000), timeout=SECONDS)
        self.assertEqual(answer.payload, (bytes(range(256)) * 13672)[:3_500_000])
        text = "x" * 4_000_000
        self.assertEqual(self.echo(probe_pb2.EchoRequest(message=text), timeout=SECONDS).message, text)

    def test_a_request_over_the_limit_is_refused(self):
        request = probe_pb2.EchoRequest(message="x" * (4 << 20))
        self.fails(grpc.StatusCode.RESOURCE_EXHAUSTED, self.echo, request)

    def test_an_unknown_method_is_unimplemented(self):
        for path in ("/probe.Probe/Nothing", "/no.Such/Echo"):
            self.fails(grpc.StatusCode.UNIMPLEMENTED, self.channel.unary_unary(path), b"")

    def test_a_message_that_is_none_is_an_invalid_argument(self):
        self.fails(grpc.StatusCode.INVALID_ARGUMENT, self.channel.unary_unary("/probe.Probe/Echo"), b"\x0a\xff")

    def test_requests_and_answers_may_be_compressed(self):
        request = probe_pb2.EchoRequest(message="x" * 10_000, payload_bytes=100_000)
        for compression, told in ((grpc.Compression.Gzip, "1"), (grpc.Compression.NoCompression, "0")):
            answer, call = self.echo.with_call(request, compression=compression, metadata=(("compress", "1"),))
            self.assertEqual(answer.message, request.message)
            self.assertEqual(answer.payload, (bytes(range(256)) * 391)[:100_000])
            self.assertIn(("compressed", told), [tuple(pair) for pair in call.trailing_metadata()])

    def test_a_request_that_inflates_over_the_limit_is_refused(self):
        request = probe_pb2.EchoRequest(message="x" * (4 << 20))
        self.fails(grpc.StatusCode.RESOURCE_EXHAUSTED, self.echo, request, compression=grpc.Compression.Gzip)

    def test_deflate_is_unimplemented(self):
        request = probe_pb2.EchoRequest(message="x" * 10_000)
        self.fails(grpc.StatusCode.UNIMPLEMENTED, self.echo, request, compression=grpc.Compression.Deflate)

    def test_a_stream_of_requests_is_refused_by_a_unary_method(self):
        def messages(count):
            return iter([probe_pb2.EchoRequest().SerializeToString()] * count)

        call = self.channel.stream_unary("/probe.Probe/Echo")
        for count in (0, 2):
            self.fails(grpc.StatusCode.UNIMPLEMENTED, call, messages(count))

    def test_many_calls_at_once(self):
        calls = [self.echo.future(probe_pb2.EchoRequest(message=str(i)), timeout=60) for i in range(300)]
        self.assertEqual([call.result().message for call in calls], [str(i) for i in range(300)])

    def test_a_cancelled_call_leaves_the_channel_alone(self):
        for _ in range(20):
            call = self.echo.future(probe_pb2.EchoRequest(wait_ms=50), timeout=SECONDS)
            call.cancel()
            self.assertEqual(call.code(), grpc.StatusCode.CANCELLED)
        self.assertEqual(self.echo(probe_pb2.EchoRequest(message="on"), timeout=SECONDS).message, "on")


class Streams(Case):
    """The kinds of call that stream."""

    SIZES = (31415, 9, 2653, 58979)

    def setUp(self):
        super().setUp()
        self.stub = test_pb2_grpc.TestServiceStub(self.channel)

    @staticmethod
    def ask(*sizes, interval_us=0, **more):
        parameters = [messages_pb2.ResponseParameters(size=size, interval_us=interval_us) for size in sizes]
        return messages_pb2.StreamingOutputCallRequest(response_parameters=parameters, **more)

    @staticmethod
    def sizes(responses):
        return [len(response.payload.body) for response in responses]

    def converse(self, **options):
        """Returns (a queue of requests, of which None is the last; the call)."""
        requests = queue.SimpleQueue()
        self.addCleanup(requests.put, None)
        return requests, self.stub.FullDuplexCall(iter(requests.get, None), timeout=SECONDS, **options)

    def ends(self, code, stream):
        with self.assertRaises(grpc.RpcError):
            next(stream)
        self.assertEqual(stream.code(), code, stream.details())
        return stream.details()

    def test_one_in_and_many_out(self):
        stream = self.stub.StreamingOutputCall(self.ask(*self.SIZES), timeout=SECONDS)
        self.assertEqual(self.sizes(stream), list(self.SIZES))
        self.assertEqual(self.sizes(self.stub.StreamingOutputCall(self.ask(), timeout=SECONDS)), [])

    def test_more_out_than_fits_on_the_way(self):
        stream = self.stub.StreamingOutputCall(self.ask(*[500_000] * 60), timeout=SECONDS)
        self.assertEqual(self.sizes(stream), [500_000] * 60)

    def test_many_in_and_one_out(self):
        def requests(sizes):
            return (messages_pb2.StreamingInputCallRequest(payload={"body": bytes(size)}) for size in sizes)

        for sizes in (self.SIZES, (), (500_000,) * 60):
            answer = self.stub.StreamingInputCall(requests(sizes), timeout=SECONDS)
            self.assertEqual(answer.aggregated_payload_size, sum(sizes))

    def test_many_both_ways_in_turns(self):
        requests, stream = self.converse()
        for size in self.SIZES:
            requests.put(self.ask(size))
            self.assertEqual(len(next(stream).payload.body), size)
        requests.put(None)
        self.assertEqual(list(stream), [])
        self.assertEqual(stream.code(), grpc.StatusCode.OK)

    def test_all_in_and_then_all_out(self):
        stream = self.stub.HalfDuplexCall((self.ask(size, 1) for size in self.SIZES), timeout=SECONDS)
        self.assertEqual(self.sizes(stream), [size for first in self.SIZES for size in (first, 1)])

    def test_many_streams_at_once(self):
        talks = [self.converse() for _ in range(4)]  # each holds a worker
        for size in self.SIZES:
            for requests, _ in talks:
                requests.put(self.ask(size))
            self.assertEqual(self.sizes(next(stream) for _, stream in talks), [size] * len(talks))

    def test_a_failure_comes_after_what_was_sent_before_it(self):
        requests, stream = self.converse()
        requests.put(self.ask(9))
        requests.put(self.ask(response_status={"code": 9, "message": "Grüße, 100 %"}))
        self.assertEqual(len(next(stream).payload.body), 9)
        self.assertEqual(self.ends(grpc.StatusCode.FAILED_PRECONDITION, stream), "Grüße, 100 %")

    def test_metadata_come_back_before_and_after_the_messages(self):
        requests, stream = self.converse(metadata=(("x-grpc-test-echo-initial", "first"),
                                                   ("x-grpc-test-echo-trailing-bin", b"\xab\x00")))  # fmt: skip
        requests.put(self.ask(9))
        self.assertIn(("x-grpc-test-echo-initial", "first"), map(tuple, stream.initial_metadata()))
        requests.put(None)
        self.assertEqual(self.sizes(stream), [9])
        self.assertIn(("x-grpc-test-echo-trailing-bin", b"\xab\x00"), map(tuple, stream.trailing_metadata()))

    def test_a_cancelled_stream_leaves_the_channel_alone(self):
        requests, stream = self.converse()
        requests.put(self.ask(9))
        next(stream)
        stream.cancel()
        self.ends(grpc.StatusCode.CANCELLED, stream)
        self.stub.EmptyCall(empty_pb2.Empty(), timeout=SECONDS)

    def test_a_stream_past_its_deadline_ends(self):
        slow = self.ask(9, 9, interval_us=400_000)
        stream = self.stub.StreamingOutputCall(slow, timeout=0.6)
        next(stream)
        self.ends(grpc.StatusCode.DEADLINE_EXCEEDED, stream)


if __name__ == "__main__":
    Users.target, Probe.target, Streams.target = sys.argv[1:4]
    unittest.main(argv=sys.argv[:1])
