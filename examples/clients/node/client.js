// A client of the user service: client.js HOST:PORT NAME EMAIL. README.md has the commands that make it run.
"use strict";
const path = require("node:path");
const grpc = require("@grpc/grpc-js");
const loader = require("@grpc/proto-loader");

const SECONDS = 5; // each call has so long
const PROTO = path.join(__dirname, "../../../proto/user.proto");
const { UserService } = grpc.loadPackageDefinition(loader.loadSync(PROTO, { keepCase: true })).user;

// A function that calls a method and promises its answer.
function caller(users) {
  return (method, request) =>
    new Promise((resolve, reject) => {
      const deadline = Date.now() + SECONDS * 1000;
      users[method](request, { deadline }, (error, answer) => (error ? reject(error) : resolve(answer)));
    });
}

async function* pages(call) {
  let token = "";
  do {
    const page = await call("ListUsers", { page_size: 2, page_token: token });
    yield page.users;
    token = page.next_page_token;
  } while (token);
}

const show = (what, user) => console.log(`${what}: ${user.id} ${user.name} <${user.email}>`);
const showFailure = (error) => console.log(`${grpc.status[error.code]}: ${error.details}`);

async function visit(call, name, email) {
  const created = await call("CreateUser", { name, email });
  show("created", created);
  show("got", (await call("GetUser", { id: created.id })).user);
  let number = 0;
  for await (const page of pages(call)) {
    number++;
    for (const user of page) show(`page ${number}`, user);
  }
  await call("GetUser", { id: "no-such-user" }).catch(showFailure);
}

async function main([target, name, email]) {
  if (email === undefined) {
    console.error("usage: client.js HOST:PORT NAME EMAIL");
    return 2;
  }
  const users = new UserService(target, grpc.credentials.createInsecure());
  try {
    await visit(caller(users), name, email);
    return 0;
  } catch (error) {
    showFailure(error);
    return 1;
  } finally {
    users.close();
  }
}

main(process.argv.slice(2)).then((code) => (process.exitCode = code));
