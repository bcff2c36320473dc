// Judges Weft's servers as a grpc-js client:
// grpcjs_client.js NODE_FOLDER USER_SERVICE USER_PROTO PROBE_SERVER PROBE_PROTO INTEROP_SERVER INTEROP_PROTO_FOLDER
"use strict";
const assert = require("node:assert/strict");
const path = require("node:path");

const [folder, userTarget, userProto, probeTarget, probeProto, suiteTarget, suiteFolder] = process.argv.slice(2);
const need = (name) => require(path.join(folder, "node_modules", name));
const grpc = need("@grpc/grpc-js");
const loader = need("@grpc/proto-loader");

const SECONDS = 20;
const load = (file, ...includeDirs) =>
  grpc.loadPackageDefinition(loader.loadSync(file, { keepCase: true, includeDirs }));
const users = new (load(userProto).user.UserService)(userTarget, grpc.credentials.createInsecure());
const probe = new (load(probeProto).probe.Probe)(probeTarget, grpc.credentials.createInsecure());
const { TestService } = load("grpc/testing/test.proto", suiteFolder).grpc.testing;
const suite = new TestService(suiteTarget, grpc.credentials.createInsecure());

// A unary call: resolves with {error, answer, headers, trailers}, whatever the status.
function call(client, method, request, { metadata = new grpc.Metadata(), seconds = SECONDS } = {}) {
  return new Promise((resolve) => {
    const result = {};
    const deadline = new Date(Date.now() + seconds * 1000);
    const running = client[method](request, metadata, { deadline }, (error, answer) => {
      Object.assign(result, { error, answer });
    });
    running.on("metadata", (headers) => (result.headers = headers));
    running.on("status", (status) => {
      result.trailers = status.metadata;
      setImmediate(() => resolve(result));
    });
  });
}

async function fails(code, ...args) {
  const { error, trailers } = await call(...args);
  assert.ok(error, "the call succeeded");
  assert.equal(error.code, code, error.message);
  return { details: error.details, trailers };
}

// What becomes of a stream of responses: resolves with {sizes, error, headers, trailers} when it has ended.
function responses(stream, onResponse = () => {}) {
  return new Promise((resolve) => {
    const result = { sizes: [] };
    stream.on("metadata", (headers) => (result.headers = headers));
    stream.on("data", ({ payload }) => {
      result.sizes.push(payload.body.length);
      onResponse(result.sizes.length);
    });
    stream.on("error", (error) => (result.error = error));
    stream.on("status", (status) => {
      result.trailers = status.metadata;
      setImmediate(() => resolve(result));
    });
  });
}

const within = (seconds = SECONDS) => ({ deadline: new Date(Date.now() + seconds * 1000) });
const ask = (sizes, more = {}) => ({ response_parameters: sizes.map((size) => ({ size, ...more })) });
const SIZES = [31415, 9, 2653, 58979];

// Asks for these sizes by FullDuplexCall, each when the one before has come.
function converse(sizes) {
  const stream = suite.FullDuplexCall(within());
  const next = (count) => (count < sizes.length ? stream.write(ask([sizes[count]])) : stream.end());
  const ended = responses(stream, next);
  next(0);
  return ended;
}

const { status } = grpc;
const MISSING = "01890a5d-ac96-774b-bcce-b302099a8057";
const cases = {
  async "creates and fetches a user"() {
    const { answer: created, error } = await call(users, "CreateUser", { name: "Ада", email: "ada.js@example.org" });
    assert.ifError(error);
    const { answer } = await call(users, "GetUser", { id: created.id });
    assert.deepEqual({ ...answer.user }, { id: created.id, name: "Ада", email: "ada.js@example.org" });
  },
  async "tells a missing user, a bad e-mail and a double one"() {
    const { details } = await fails(status.NOT_FOUND, users, "GetUser", { id: MISSING });
    assert.ok(details.includes(MISSING), details);
    const bad = await fails(status.INVALID_ARGUMENT, users, "CreateUser", { name: "A", email: "nowhere" });
    assert.ok(bad.details.startsWith("email "), bad.details);
    await fails(status.ALREADY_EXISTS, users, "CreateUser", { name: "A", email: "ADA.JS@example.org" });
  },
  async "gets every status code with its message"() {
    for (let code = 1; code <= 16; code++) {
      const { details } = await fails(code, probe, "Echo", { code, message: "Grüße\n100 %" });
      assert.equal(details, "Grüße\n100 %");
    }
  },
  async "gets metadata back in headers and trailers"() {
    const metadata = new grpc.Metadata();
    const bytes = Buffer.from(Array.from({ length: 256 }, (_, i) => i));
    metadata.add("head-text", "a b");
    metadata.add("head-data-bin", bytes);
    metadata.add("tail-text", "c");
    const { error, headers, trailers } = await call(probe, "Echo", {}, { metadata });
    assert.ifError(error);
    assert.deepEqual(headers.get("head-text"), ["a b"]);
    assert.deepEqual(Buffer.from(headers.get("head-data-bin")[0]), bytes);
    assert.deepEqual(trailers.get("tail-text"), ["c"]);
  },
  async "has its deadline seen and kept"() {
    const { answer } = await call(probe, "Echo", {}, { seconds: 30 });
    assert.ok(answer.remaining_ms > 20000 && answer.remaining_ms <= 30100, `${answer.remaining_ms} ms`);
    await fails(status.DEADLINE_EXCEEDED, probe, "Echo", { wait_ms: 1500 }, { seconds: 0.2 });
  },
  async "carries large messages, and is told when they are too large"() {
    const { answer } = await call(probe, "Echo", { payload_bytes: 3500000 });
    assert.equal(answer.payload.length, 3500000);
    assert.ok(answer.payload.every((byte, i) => byte === i % 256));
    await fails(status.RESOURCE_EXHAUSTED, probe, "Echo", { message: "x".repeat(5 << 20) });
  },
  async "makes many calls at once"() {
    const answers = await Promise.all(
      Array.from({ length: 200 }, (_, i) => call(probe, i % 2 ? "Echo" : "EchoInline", { message: `${i}` })),
    );
    answers.forEach(({ error, answer }, i) => assert.equal(error ? error.message : answer.message, `${i}`));
  },
  async "streams one in and many out, also more than fits on the way"() {
    for (const sizes of [SIZES, [], Array(60).fill(500000)]) {
      const { error, sizes: got } = await responses(suite.StreamingOutputCall(ask(sizes), within()));
      assert.ifError(error);
      assert.deepEqual(got, sizes);
    }
  },
  async "streams many in and one out"() {
    for (const sizes of [SIZES, [], Array(60).fill(500000)]) {
      const answer = await new Promise((resolve, reject) => {
        const stream = suite.StreamingInputCall(within(), (error, value) => (error ? reject(error) : resolve(value)));
        sizes.forEach((size) => stream.write({ payload: { body: Buffer.alloc(size) } }));
        stream.end();
      });
      const sum = sizes.reduce((total, size) => total + size, 0);
      assert.equal(answer.aggregated_payload_size ?? 0, sum);
    }
  },
  async "streams both ways in turns, in many streams at once"() {
    // Each holds a worker of the server.
    for (const { error, sizes } of await Promise.all(Array.from({ length: 4 }, () => converse(SIZES)))) {
      assert.ifError(error);
      assert.deepEqual(sizes, SIZES);
    }
    assert.deepEqual((await converse([])).sizes, []);
  },
  async "streams all in and then all out"() {
    const stream = suite.HalfDuplexCall(within());
    SIZES.forEach((size) => stream.write(ask([size, 1])));
    stream.end();
    const { error, sizes } = await responses(stream);
    assert.ifError(error);
    assert.deepEqual(sizes, SIZES.flatMap((size) => [size, 1]));
  },
  async "gets a failure after what was sent before it, and metadata around"() {
    const metadata = new grpc.Metadata();
    metadata.add("x-grpc-test-echo-initial", "first");
    metadata.add("x-grpc-test-echo-trailing-bin", Buffer.from([0xab, 0]));
    const stream = suite.FullDuplexCall(metadata, within());
    stream.write(ask([9]));
    stream.write({ response_status: { code: status.FAILED_PRECONDITION, message: "Grüße, 100 %" } });
    const { error, sizes, headers, trailers } = await responses(stream);
    assert.deepEqual([error.code, error.details, sizes], [status.FAILED_PRECONDITION, "Grüße, 100 %", [9]]);
    assert.deepEqual(headers.get("x-grpc-test-echo-initial"), ["first"]);
    assert.deepEqual(Buffer.from(trailers.get("x-grpc-test-echo-trailing-bin")[0]), Buffer.from([0xab, 0]));
  },
  async "cancels a stream, and goes on calling"() {
    const stream = suite.FullDuplexCall(within());
    const ended = responses(stream, () => stream.cancel());
    stream.write(ask([9]));
    const { error, sizes } = await ended;
    assert.deepEqual([error.code, sizes], [status.CANCELLED, [9]]);
    assert.ifError((await call(suite, "EmptyCall", {})).error);
  },
  async "has a stream end at its deadline"() {
    const slow = ask([9, 9], { interval_us: 400000 });
    const { error, sizes } = await responses(suite.StreamingOutputCall(slow, within(0.6)));
    assert.deepEqual([error.code, sizes], [status.DEADLINE_EXCEEDED, [9]]);
  },
};

async function main() {
  let failed = 0;
  for (const [name, run] of Object.entries(cases)) {
    try {
      await run();
      console.log(`ok: ${name}`);
    } catch (error) {
      failed++;
      console.log(`FAILED: ${name}: ${error.stack}`);
    }
  }
  users.close();
  probe.close();
  suite.close();
  console.log(`${Object.keys(cases).length - failed} passed, ${failed} failed`);
  process.exitCode = failed ? 1 : 0;
}

main();
