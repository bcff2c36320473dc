// Judges Weft's servers as a grpc-js client: grpcjs_client.js NODE_FOLDER USER_SERVICE USER_PROTO PROBE_SERVER PROBE_PROTO
"use strict";
const assert = require("node:assert/strict");
const path = require("node:path");

const [folder, userTarget, userProto, probeTarget, probeProto] = process.argv.slice(2);
const need = (name) => require(path.join(folder, "node_modules", name));
const grpc = need("@grpc/grpc-js");
const loader = need("@grpc/proto-loader");

const SECONDS = 20;
const load = (file) => grpc.loadPackageDefinition(loader.loadSync(file, { keepCase: true }));
const users = new (load(userProto).user.UserService)(userTarget, grpc.credentials.createInsecure());
const probe = new (load(probeProto).probe.Probe)(probeTarget, grpc.credentials.createInsecure());

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
  console.log(`${Object.keys(cases).length - failed} passed, ${failed} failed`);
  process.exitCode = failed ? 1 : 0;
}

main();
