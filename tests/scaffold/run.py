"""run.py CASE --build BUILD: what `weft new`, `weft add` and `weft gen` make, used as somebody outside the tree would.

  new       a service from an empty folder: installed Weft, build, tests, run, call, stop; in less than two minutes
  contract  the same for contracts with all four kinds of call; free of warnings, clean under the sanitizers
  grow      methods and services are added, and nothing else changes; what cannot be added changes nothing
  guide     docs/guide/first-service.md, as it is written
  names     hazardous names, folders that are there, a full disk: the right result or a clear refusal
  words     names that are words of proto, CMake or the template itself build as any other
  shape     our own services have the shape of a generated one
  deploy    the unit, the manifests and the Dockerfile, as far as tools here can judge them
  manual    every command has its manual page, help and completion

Ends with 77 when a tool is missing; parts that are skipped are told.
"""
import argparse
import contextlib
import json
import os
import pty
import re
import resource
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
sys.path[:0] = [str(HERE.parent / "support"), str(HERE.parent / "interop")]

import toolchains  # noqa: E402
from service import Service  # noqa: E402

STEP_SECONDS = 300
NEW_SECONDS = 120
SANITIZERS = "-fsanitize=address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer"


class Failure(Exception):
    """Something is not as it should be."""


def require(condition, text):
    if not condition:
        raise Failure(text)


def skip_part(why):
    print(f"-- skipped: {why}", flush=True)


def need(*tools):
    for tool in tools:
        if not shutil.which(tool):
            print(f"skipped: {tool} is not installed")
            sys.exit(77)


def environment(**more):
    """Ours without what would change how weft and the compilers behave."""
    dropped = ("NO_COLOR", "CFLAGS", "CC", "LDFLAGS", "DESTDIR")
    return {**{key: value for key, value in os.environ.items() if key not in dropped}, **more}


def run(*command, cwd=None, code=0, **options):
    """Runs a command that ends with `code`; returns what it printed."""
    done = subprocess.run([str(word) for word in command], cwd=cwd, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, text=True, timeout=STEP_SECONDS, check=False,
                          env=options.pop("env", environment()), **options)  # fmt: skip
    if done.returncode != code:
        raise Failure(f"{' '.join(map(str, command))}: ended with {done.returncode} instead of {code}\n{done.stdout}")
    return done.stdout


def split(*command, cwd=None, code=0):
    """The same, but returns standard output and standard error."""
    done = subprocess.run([os.fsencode(word) for word in command], cwd=cwd, stdin=subprocess.DEVNULL, text=True,
                          capture_output=True, timeout=STEP_SECONDS, check=False, env=environment())  # fmt: skip
    require(done.returncode == code, f"{command}: ended with {done.returncode}\n{done.stdout}{done.stderr}")
    return done.stdout, done.stderr


class Machine:
    """A folder outside the tree with an installed Weft, which was moved after it was installed."""

    def __init__(self, build):
        self.build = build
        self.work = Path(tempfile.mkdtemp(prefix="weft-scaffold.")).resolve()
        run("cmake", "--install", build, "--prefix", self.work / "first")
        (self.work / "first").rename(self.work / "prefix")
        self.prefix = self.work / "prefix"
        self.home = self.work / "home"
        self.home.mkdir()

    def weft(self, *arguments, cwd=None, code=0):
        return run(self.prefix / "bin" / "weft", *arguments, cwd=cwd or self.home, code=code)

    def make(self, folder, *options, build="build"):
        """Configures, builds and tests a project."""
        run("cmake", "-G", "Ninja", "-S", folder, "-B", folder / build, f"-DCMAKE_PREFIX_PATH={self.prefix}",
            "-DCMAKE_COMPILE_WARNING_AS_ERROR=ON", *options)  # fmt: skip
        run("cmake", "--build", folder / build)
        return run("ctest", "--test-dir", folder / build, "--output-on-failure", "--no-tests=error")

    def remove(self):
        shutil.rmtree(self.work, ignore_errors=True)


def files_of(folder):
    """Each file below a folder and its bytes."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


# ---- new -------------------------------------------------------------------------------------------------------------


def greet_by_grpcurl(machine, program, target, name):
    answer = json.loads(run(program, "-plaintext", "-d", json.dumps({"name": name}), target,
                            "greeter.GreeterService/Hello"))  # fmt: skip
    return f"{answer['text']} {answer['count']}"


def greet_by_ours(machine, program, target, name):
    return run(program, target, name).strip()


def caller(machine):
    """grpcurl, which learns the contract by reflection; where it cannot be had, a client of ours."""
    try:
        return greet_by_grpcurl, toolchains.go(machine.build / "interop") / "grpcurl"
    except toolchains.Unavailable as why:
        skip_part(f"grpcurl, so a client of ours calls: {why}")
    return greet_by_ours, None


def check_run(machine, project, command):
    """`weft run` builds and starts a project, which listens, and stops it on SIGTERM."""
    with subprocess.Popen([str(word) for word in command], cwd=project, stdin=subprocess.DEVNULL, text=True,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env=environment()) as process:  # fmt: skip
        try:
            lines = []
            for line in process.stdout:
                lines.append(line)
                if "listening" in line:
                    break
            process.terminate()
            lines.append(process.communicate(timeout=STEP_SECONDS)[0])
        finally:
            process.kill()
    require(process.returncode == 0 and "listening" in "".join(lines), f"weft run: {process.returncode} {lines}")


def case_new(machine):
    greet, program = caller(machine)
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    out = machine.weft("new", "greeter")
    next_commands = [line.strip() for line in out.partition("Next:\n")[2].splitlines()]
    require(len(next_commands) == 3 and next_commands[0] == "cd greeter", f"no three next commands: {out}")
    require(next_commands[2] == "weft run", out)
    require("\033" not in out, "colours, and no terminal")
    project = machine.home / "greeter"
    require(os.listdir(machine.home) == ["greeter"], "something is left beside the project")
    require("100% tests passed" in machine.make(project), "its tests do not pass")
    if program is None:
        client = machine.work / "client"
        run("cmake", "-G", "Ninja", "-S", HERE / "client", "-B", client, f"-DCMAKE_PREFIX_PATH={machine.prefix}",
            f"-DPROTO={project}/proto/greeter.proto")  # fmt: skip
        run("cmake", "--build", client)
        program = client / "client"
    command = [project / "build" / "greeter-service", "--config", project / "greeter.yaml", "--listen", "127.0.0.1:0",
               "--set", f"database.path={machine.work}/greeter.db"]  # fmt: skip
    for count in (1, 2):
        with Service(command, machine.work / "log") as service:
            found = greet(machine, program, service.target, "Ada")
            require(found == f"Hello, Ada! {count}", f"the answer is {found}")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    seconds = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    print(f"-- {seconds:.1f} s of machine time from nothing to the answer")
    require(seconds < NEW_SECONDS, f"{seconds} s are more than two minutes")

    # As the last of the next commands has it.
    command = [machine.prefix / "bin/weft", "run", "--", "--listen", "127.0.0.1:0",
               "--set", f"database.path={machine.work}/greeter.db"]  # fmt: skip
    check_run(machine, project, command)

    run("cmake", "--install", project / "build", "--prefix", machine.work / "usr")
    require((machine.work / "usr/bin/greeter-service").exists(), "it does not install its program")
    machine.make(project, "-DCMAKE_BUILD_TYPE=Debug", f"-DCMAKE_C_FLAGS={SANITIZERS}", build="build-asan")

    # A second migration is a line in CMakeLists.txt.
    (project / "migrations/0002_more.sql").write_text("ALTER TABLE greetings ADD COLUMN last TEXT;\n")
    cmake = project / "CMakeLists.txt"
    cmake.write_text(cmake.read_text().replace("migrations/0001_greetings.sql",
                                               "migrations/0001_greetings.sql migrations/0002_more.sql"))
    machine.make(project)


# ---- contract --------------------------------------------------------------------------------------------------------


def case_contract(machine):
    shutil.copytree(HERE / "contract", machine.home / "api")
    machine.weft("new", "kinds", "--proto", "api/kinds.proto")
    project = machine.home / "kinds"
    for name in ("kinds.proto", "acme/v1/common.proto"):
        require((project / "proto" / name).read_bytes() == (HERE / "contract" / name).read_bytes(), f"{name} differs")
    require(not (project / "proto/google").exists(), "libweft has google/*.proto")
    require(not (project / "migrations").exists(), "a service from a contract has no store")
    handlers = (project / "src/kinds_service.c").read_text()
    for method in ("Read", "Upload", "ListAllThatThereIsInOneLongName", "delete_", "offsetof_",
                   "GetStatus"):  # fmt: skip
        require(f"    .{method} = " in handlers, f"no handler of {method}")
    machine.make(project)
    machine.make(project, "-DCMAKE_BUILD_TYPE=Debug", f"-DCMAKE_C_FLAGS={SANITIZERS}", build="build-asan")
    if shutil.which("clang"):
        machine.make(project, "-DCMAKE_C_COMPILER=clang", build="build-clang")
    else:
        skip_part("clang is not installed")
    tests = run(project / "build/kinds_service_test")
    require(tests.count("[       OK ]") == 6, f"not each method has a test that passes:\n{tests}")
    command = [project / "build" / "kinds-service", "--config", project / "kinds.yaml", "--listen", "127.0.0.1:0"]
    with Service(command, machine.work / "log"):
        pass

    machine.weft("new", "two", "--proto", "api/two.proto", "--dir", "both services")
    project = machine.home / "both services"
    require({"src/users_service.c", "src/users_service_2.c"} <= set(files_of(project)), "no file for each service")
    machine.make(project)

    machine.weft("new", "old", "--proto", "./api/old.proto")
    machine.make(machine.home / "old")

    machine.weft("new", "deep", "--import-dir", "api", "--proto", "api/acme/v1/common.proto", code=1)
    (machine.home / "api/acme/v1/deep.proto").write_text(
        'syntax = "proto3";\npackage acme.v1;\nimport "acme/v1/common.proto";\n'
        "service Deep { rpc Add(Sum) returns (Sum); }\n")
    machine.weft("new", "deep", "--import-dir", "api", "--proto", "api/acme/v1/deep.proto")
    machine.make(machine.home / "deep")
    machine.weft("new", "dot", "--import-dir", ".", "--proto", "./acme/v1/deep.proto", cwd=machine.home / "api")

    # An import that protoc takes and Weft cannot make C of.
    (machine.home / "api/clash.proto").write_text(
        'syntax = "proto3";\nimport "taken.proto";\nservice S { rpc A(M) returns (M); }\nmessage M {}\n')
    (machine.home / "api/taken.proto").write_text('syntax = "proto3";\npackage weft;\nmessage N {}\n')
    (machine.home / "api/broken.proto").write_text('syntax = "proto3";\nmessag M {}\n')
    shutil.copy(ROOT / "proto/grpc/health/v1/health.proto", machine.home / "api")
    (machine.home / "api/edition.proto").write_text('edition = "2023";\n')
    (machine.home / "api/two words.proto").write_text(
        'syntax = "proto3";\nservice S { rpc A(M) returns (M); }\nmessage M {}\n')
    for wrong, reason in (
        ("no.proto", "no such file"),
        ("api/broken.proto", "broken.proto:2:1"),
        ("api/acme/v1/deep.proto", "acme/v1/common.proto: File not found"),
        ("api/acme/v1/deep.proto", "--import-dir DIR names"),
        ("api/two words.proto", "rename it"),
        ("api/clash.proto", "taken.proto:2:1"),
        ("api/health.proto", "serves grpc.health.v1.Health already"),
        ("api/edition.proto", 'write `syntax = "proto3";` instead'),
    ):
        out = machine.weft("new", "wrong", "--proto", wrong, code=1)
        require(reason in out, f"{wrong}: no \"{reason}\" in: {out}")
        require(not (machine.home / "wrong").exists(), "half a project is left")
    out = run(weft_of(machine), "new", "wrong", "--proto", "api/two.proto", cwd=machine.home, code=1,
              env=environment(TMPDIR="/there/is/none"))  # fmt: skip
    require("cannot make a temporary file in /there/is/none" in out, out)


# ---- grow ------------------------------------------------------------------------------------------------------------


def check_added(before, after, changed, added=()):
    """Of the files of a project only `changed` differ, with every line that was there, and `added` came."""
    require(set(after) - set(before) == set(added), f"came: {set(after) - set(before)}")
    require(set(before) <= set(after), "files went")
    found = {name for name in before if before[name] != after[name]}
    require(found == set(changed), f"changed: {found}")
    for name in found:
        rest = iter(after[name].splitlines(keepends=True))
        for line in before[name].splitlines(keepends=True):
            require(line in rest, f"{name}: lost or moved: {line!r}")


def case_grow(machine):
    machine.weft("new", "greeter")
    project = machine.home / "greeter"
    proto, handlers = project / "proto/greeter.proto", project / "src/greeter_service.c"
    both = ("proto/greeter.proto", "src/greeter_service.c")

    # What the user wrote stays: odd blanks, comments, another order.
    table = "static const greeter"
    handlers.write_text(handlers.read_text().replace(table, "/* Mine; } */\n#define X {\n" + table))
    proto.write_text(proto.read_text() + "// the end, without a line end")
    for arguments in (("Goodbye",), ("GreeterService/Watch", "--stream-response", "--request", "HelloRequest"),
                      ("greeter.GreeterService/Collect", "--stream-request"),
                      ("Chat", "--stream-request", "--stream-response", "--response", "google.protobuf.Empty"),
                      ("Delete", "--request=DeleteRequest", "--response=HelloResponse")):  # fmt: skip
        before = files_of(project)
        if "google.protobuf.Empty" in arguments:  # not imported yet
            machine.weft("add", "method", *arguments, cwd=project, code=1)
            require(files_of(project) == before, "a refusal changed something")
            proto.write_text(proto.read_text().replace("package greeter;",
                                                       'package greeter;\n\nimport "google/protobuf/empty.proto";'))
            before = files_of(project)
        machine.weft("add", "method", *arguments, cwd=project)
        after = files_of(project)
        if arguments == ("Goodbye",):  # the last line got its end
            before[both[0]] += b"\n"
        check_added(before, after, both)

    before = files_of(project)
    out = json.loads(machine.weft("add", "service", "Admin", "--method", "Reload", "--json", cwd=project))
    added = ("src/admin_service.c", "src/admin_service.h", "tests/admin_service_test.c")
    require(set(out["added"]) == set(added) and out["methods"] == ["Admin/Reload"], f"{out}")
    after = files_of(project)
    before["CMakeLists.txt"] = before["CMakeLists.txt"].replace(b"greeter_service)\n    add", b"greeter_service "
                                                                b"admin_service)\n    add")
    check_added(before, after, ("proto/greeter.proto", "src/main.c", "CMakeLists.txt"), added)
    machine.weft("add", "method", "Admin/Stop", cwd=project)
    check_added(after, files_of(project), ("proto/greeter.proto", "src/admin_service.c"))

    # By hand into the contract, then gen; a second time there is nothing to do.
    types = "(GoodbyeRequest) returns (GoodbyeResponse)"
    proto.write_text(proto.read_text().replace("  rpc Goodbye(", f"  rpc Later{types};\n  rpc Goodbye(")
                     + f"\nservice Extra {{ rpc Ping{types}; }}\n")  # fmt: skip
    out = json.loads(machine.weft("gen", "--json", cwd=project))
    require(set(out["methods"]) == {"GreeterService/Later", "Extra/Ping"}, f"{out}")
    before = files_of(project)
    require(json.loads(machine.weft("gen", "--json", cwd=project))["methods"] == [], "gen found something again")
    require(files_of(project) == before, "gen changed something again")
    machine.make(project)
    machine.make(project, "-DCMAKE_BUILD_TYPE=Debug", f"-DCMAKE_C_FLAGS={SANITIZERS}", build="build-asan")
    shutil.rmtree(project / "build")
    shutil.rmtree(project / "build-asan")

    # What cannot be, changes nothing and tells why.
    before = files_of(project)
    for arguments, code, reason in (
        (("method", "Hello"), 1, "say of which service"),
        (("method", "GreeterService/Hello"), 1, "has a method Hello already"),
        (("method", "Nobody/Hello"), 1, "there is no service Nobody"),
        (("method", "GreeterService/New", "--request", "other.Type"), 1, '"other.Type" is not defined.\nimport the file'),
        (("method", "GreeterService/HelloRequest", "--request", "Admin"), 1, "already defined"),
        (("method", "GreeterService/New", "--request", "New"), 1, "with its package"),
        (("method", "GreeterService/get-user"), 2, "no name for a method"),
        (("method", "GreeterService.Get"), 2, "[SERVICE/]METHOD"),
        (("method", "GreeterService/Get", "--method", "Get"), 2, "belong to `weft add service`"),
        (("method", "GreeterService/Get", "--response", "a b"), 2, "no name of a message"),
        (("service", "Admin"), 1, "has a service Admin already"),
        (("service", "admin"), 2, "upper-case letter first"),
        (("service", "Other", "--proto", "no.proto"), 1, "there is no no.proto"),
        (("thing", "Other"), 2, "what is a thing"),
        (("method",), 2, "wants more"),
    ):
        out = machine.weft("add", *arguments, cwd=project, code=code)
        require(reason in out, f"{arguments}: no \"{reason}\" in: {out}")
        require(files_of(project) == before, f"{arguments} changed something")
    broken = {
        "proto/greeter.proto": (b"service GreeterService {", b"service GreeterService {{", "greeter.proto:"),
        "src/greeter_service.c": (b"_ops = {", b"_ops[] = {", "could be added to"),
    }
    for name, (old, new, reason) in broken.items():
        text = before[name]
        (project / name).write_bytes(text.replace(b"greeter" + old if old.startswith(b"_") else old,
                                                  b"greeter" + new if new.startswith(b"_") else new))
        broken_files = files_of(project)
        require(broken_files != before, f"{name} was not broken")
        out = machine.weft("add", "method", "GreeterService/Fresh", cwd=project, code=1)
        require(reason in out, f"{name}: no \"{reason}\" in: {out}")
        require(files_of(project) == broken_files, "a refusal changed something")
        (project / name).write_bytes(text)
    main = before["src/main.c"]
    (project / "src/main.c").write_bytes(main.replace(b"greeter_service_register(", b"(greeter_service_register)("))
    broken_files = files_of(project)
    out = machine.weft("add", "service", "Fresh", cwd=project, code=1)
    require("fresh_service_register() could be called" in out, out)
    require(files_of(project) == broken_files, "a refusal changed something")
    (project / "src/main.c").write_bytes(main)
    out = machine.weft("add", "method", "Hello", cwd=machine.home, code=1)
    require("no folder of a project" in out, out)

    # For those who keep generated code.
    machine.weft("gen", "--out", "gen", cwd=project)
    require({f"greeter.{end}" for end in ("pb-c.h", "pb-c.c", "weft.h", "weft.c")} == set(os.listdir(project / "gen")),
            "gen --out made other files")  # fmt: skip
    out = machine.weft("gen", "--out", "gen", "--json", "--import-dir", HERE / "contract",
                       HERE / "contract/acme/v1/common.proto", cwd=project)  # fmt: skip
    require(all((project / name).exists() for name in json.loads(out)["files"]), out)
    machine.weft("gen", "proto/greeter.proto", cwd=project, code=2)
    (machine.home / "lost.proto").write_text('syntax = "proto3";\nimport "no.proto";\n')
    out = machine.weft("gen", "--out", "lost", "lost.proto", code=1)
    require("--import-dir DIR names" in out and not (machine.home / "lost").exists(), out)
    out = machine.weft("gen", "--out", "no/such", "lost.proto", code=1)
    require("no/such: cannot be made: No such file" in out, out)


# ---- guide -----------------------------------------------------------------------------------------------------------


def case_guide(machine):
    page = (ROOT / "docs/guide/first-service.md").read_text()
    (handler,) = re.findall(r"^```c\n(.*?)^```$", page, re.M | re.S)
    (message,) = re.findall(r"^```proto\n(.*?)^```$", page, re.M | re.S)
    machine.weft("new", "greeter")
    project = machine.home / "greeter"
    machine.weft(*re.search(r"^weft (add method Goodbye.*)$", page, re.M).group(1).split(), cwd=project)
    proto, handlers = project / "proto/greeter.proto", project / "src/greeter_service.c"
    proto.write_text(proto.read_text().replace("message GoodbyeResponse {}\n", message))
    text, count = re.subn(r"^static weft_code handle_goodbye\(.*?^}\n", lambda _: handler, handlers.read_text(),
                          flags=re.M | re.S)  # fmt: skip
    require(count == 1, "the handler has another name than in the guide")
    handlers.write_text(text)
    machine.make(project)
    try:
        program = toolchains.go(machine.build / "interop") / "grpcurl"
    except toolchains.Unavailable as why:
        skip_part(f"grpcurl: {why}")
        return
    command = [project / "build/greeter-service", "--config", project / "greeter.yaml", "--listen", "127.0.0.1:0"]
    database = {"GREETER_DATABASE_PATH": f"{machine.work}/greeter.db"}
    ada = ("-plaintext", "-d", '{"name": "Ada"}')
    with Service(command, machine.work / "log", environment=database) as service:
        require("greeter.GreeterService" in run(program, "-plaintext", service.target, "list"), "no reflection")
        for method, answer in re.findall(r"greeter\.GreeterService/(\w+)\n```\n\n```json\n(.*)\n", page):
            out = run(program, *ada, service.target, f"greeter.GreeterService/{method}")
            require(json.loads(out) == json.loads(answer), f"{method}: {out}")
        out = run(program, *ada, service.target, "greeter.GreeterService/Goodbye")
        require(json.loads(out) == {"text": "Goodbye, Ada!"}, out)


# ---- names -----------------------------------------------------------------------------------------------------------


def weft_of(machine):
    return machine.prefix / "bin" / "weft"


def case_names(machine):
    machine.weft("new", "slashes", "--dir", "slashes//")
    require((machine.home / "slashes/CMakeLists.txt").exists(), "--dir slashes// has made something else")
    shutil.rmtree(machine.home / "slashes")
    home = machine.home
    refused = {
        "": "is empty", "int": "word of C", "class": "word of C", "1st": "begin with a letter", "Greeter": "upper-case",
        "grüße": "not ASCII", "привет": "not ASCII", "a b": "has a ' '", "a\nb": "control character", ".": "is a path",
        "..": "is a path", "../greeter": "is a path", "/greeter": "is a path", "a/b": "is a path", "a\\b": "has a '\\'",
        "a__b": "that no letter", "a-": "that no letter", "_a": "begin with a letter", "string": "header of the system",
        "main": "is taken", "test": "is taken", "weft": "is taken", "x" * 41: "too long", "a;b": "has a ';'",
        "$(id)": "has a '$'", "a.b": "has a '.'",
    }  # fmt: skip
    for name, reason in refused.items():
        out = machine.weft("new", "--", name, code=2)
        require(reason in out, f"{name!r}: no \"{reason}\" in: {out}")
        require(os.listdir(home) == [], f"{name!r} left {os.listdir(home)}")
    machine.weft("new", "-x", code=2)
    machine.weft("new", code=2)
    machine.weft("new", "a", "b", code=2)
    machine.weft("new", "a", "--bogus", code=2)
    machine.weft("new", "a", "--dir", code=2)
    machine.weft("new", "a", "--json=x", code=2)
    machine.weft("new", "a", "--dir=", code=2)
    require(os.listdir(home) == [], "something is left")

    # What is there stays.
    (home / "folder").mkdir()
    (home / "file").write_text("mine")
    (home / "alias").symlink_to("nowhere")
    for name in ("folder", "file", "alias"):
        require("is there already" in machine.weft("new", name, code=1), f"{name} was not refused")
    require(sorted(os.listdir(home)) == ["alias", "file", "folder"], f"left: {os.listdir(home)}")
    require((home / "file").read_text() == "mine", "a file was overwritten")
    require("No such file" in machine.weft("new", "a", "--dir", "no/such/a", code=1), "a missing parent is not told")

    # Whose name is taken as it is, or becomes another in C.
    out = machine.weft("new", "my-greeter_2")
    require("called my_greeter_2" in out and "called my-greeter-2-service" in out, out)
    out, errors = split(machine.prefix / "bin/weft", "new", "x" * 40, "--dir", home / "a 'b'", "--json", cwd=home)
    made = json.loads(out)
    require(errors == "" and made["next"][0] == f"cd '{home}/a '\\''b'\\'''", f"{made['next']}")
    require(sorted(made["files"]) == sorted(files_of(home / "a 'b'")), "the list of files differs from the files")

    made = split(weft_of(machine), "new", "b", "--dir", b"\xff\xc3\xbc", "--json", cwd=home)[0]
    require(json.loads(made)["folder"] == "\ufffdü", made)

    # The words of the template are the template.
    machine.weft("new", "sample")
    require(files_of(home / "sample") == files_of(ROOT / "tools/weft/templates/service"), "sample is not the template")

    # A full disk, or a limit, leaves nothing.
    before = sorted(os.listdir(home))
    weft = weft_of(machine)
    out = run(weft, "new", "limited", cwd=home, code=1,
              preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (1024, resource.RLIM_INFINITY)))  # fmt: skip
    require("File too large; nothing was left behind" in out, out)
    require(sorted(os.listdir(home)) == before, "something is left")
    full = ('mount -t tmpfs -o size=64k none "$1" || exit 77; cd "$1" && head -c 40000 /dev/zero >ballast && '
            '"$2" new full; rc=$?; ls -A; exit "$rc"')  # fmt: skip
    done = subprocess.run(["unshare", "-m", "sh", "-c", full, "sh", home / "folder", weft], check=False, text=True,
                          capture_output=True, timeout=STEP_SECONDS) if shutil.which("unshare") else None  # fmt: skip
    if done is None or (done.returncode != 1 and "mount" in done.stderr + "unshare"):
        skip_part("a full disk: no file system can be mounted here")
    else:
        require("No space left on device; nothing was left behind" in done.stderr, done.stderr)
        require(done.stdout == "ballast\n", f"left: {done.stdout}")


def case_words(machine):
    """Words of proto, CMake and the template, and names of libc that are no header's."""
    for name in ("message", "service", "store", "count", "hello", "install", "stdin", "log", "configuration", "my-a_1"):
        machine.weft("new", name)
        machine.make(machine.home / name)


# ---- shape -----------------------------------------------------------------------------------------------------------

# What does not lie in a bundled service: parts of a project that the tree has once, for all.
OF_THE_TREE = {".gitignore", ".github/workflows/ci.yml", "deploy/Dockerfile", "deploy/Dockerfile.dockerignore",
               "tests/temp_dir.h", "{name}.yaml"}  # fmt: skip


def place(name, path):
    """Where a bundled service has the file of a generated one."""
    if path.startswith("src/") or path.startswith("migrations/") or path in ("CMakeLists.txt", "README.md"):
        return f"services/{name}/{path.removeprefix('src/')}"
    if path.startswith("tests/"):
        return f"tests/services/{name}/{path.removeprefix('tests/')}"
    if path.startswith("deploy/kubernetes/"):
        return f"deploy/kubernetes/{name}-service/{path.removeprefix('deploy/kubernetes/')}"
    return path


def commands(text):
    """The commands of a CMakeLists.txt that make the targets, with the targets' names."""
    wanted = "add_library|add_executable|target_include_directories|weft_migrations"
    return set(re.findall(rf"^({wanted})\((?:TARGET )?(\S+)", text, re.M))


def without(text, pattern):
    """A text without comments and the lines that a pattern fits."""
    lines = (line for line in text.splitlines() if not line.lstrip().startswith("#"))
    return [line for line in lines if line.strip() and not re.search(pattern, line)]


def check_shape(machine, name):
    project = machine.home / name
    machine.weft("new", name)
    deployed = (ROOT / "deploy/systemd" / f"{name}-service.service").exists()
    if not deployed:
        skip_part(f"deploy/ has no files of {name}-service")
    for path in files_of(project):
        if path in {entry.format(name=name) for entry in OF_THE_TREE} or (path.startswith("deploy/") and not deployed):
            continue
        if path.startswith("migrations/"):  # another table
            require(list((ROOT / f"services/{name}/migrations").glob("0001_*.sql")), "no first migration")
            continue
        require((ROOT / place(name, path)).exists(), f"{name} has no {place(name, path)}, as a generated {path}")

    def theirs(path):
        return (ROOT / place(name, path)).read_text()

    def made(path):
        return (project / path).read_text()

    # main.c: all lines of the generated one but those of its domain, in its order; theirs may have more.
    rest = iter(theirs("src/main.c").splitlines())
    for line in made("src/main.c").splitlines():
        if "hello.greeting" not in line and "WEFT_SQLITE_KEYS" not in line:
            require(line in rest, f"services/{name}/main.c has not, or not in this order: {line}")
    require(commands(made("CMakeLists.txt")) <= commands(theirs("CMakeLists.txt")), f"{name}: CMakeLists.txt: "
            f"{commands(made('CMakeLists.txt')) - commands(theirs('CMakeLists.txt'))}")  # fmt: skip
    require("pb-c.h" not in theirs(f"src/{name}.h") and "weft.h" not in theirs(f"src/{name}.h"),
            f"{name}: the domain includes a generated header")  # fmt: skip
    require("sqlite" not in theirs(f"src/{name}_store.h").lower().replace("sqlite.", "").replace("for sqlite", ""),
            f"{name}: the store's interface names SQLite")  # fmt: skip
    if deployed:
        for path, own in ((f"deploy/systemd/{name}-service.service", r"^(Description|After|Wants)="),
                          ("deploy/kubernetes/service.yaml", "^$"),
                          ("deploy/kubernetes/statefulset.yaml", r"^ +memory: "),
                          ("deploy/kubernetes/kustomization.yaml", "^$")):  # fmt: skip
            require(without(made(path), own) == without(theirs(path), own), f"{path} differs from a generated one")


def case_shape(machine):
    for name in ("user", "order"):
        if (ROOT / "services" / name).exists():
            check_shape(machine, name)
        else:
            skip_part(f"there is no services/{name} yet")


# ---- deploy ----------------------------------------------------------------------------------------------------------


def check_unit(machine, project, name):
    unit = (project / f"deploy/systemd/{name}-service.service").read_text()
    if not shutil.which("systemd-analyze"):
        skip_part("systemd-analyze is not installed")
        return
    copy = machine.work / f"{name}-service.service"
    program = project / "build" / f"{name}-service"
    copy.write_text(unit.replace(f"/usr/bin/{name}-service", str(program)))
    out = run("systemd-analyze", "verify", copy)
    require(name not in out, out)
    out = run("systemd-analyze", "security", "--offline=yes", "--threshold=20", copy)
    require("OK" in out.splitlines()[-1], out)


def check_manifests(project, name):
    folder = project / "deploy/kubernetes"
    if shutil.which("kubectl"):
        out = run("kubectl", "kustomize", folder)
        require(out.count("\nkind: ") + out.startswith("kind: ") == 3, out)
        require(f"{name}-service:0.1.0" in out and "grpc:" in out, out)
    else:
        skip_part("kubectl is not installed")
    try:
        import yaml
    except ImportError:
        skip_part("python3-yaml is not installed")
        return
    steps = yaml.safe_load((project / ".github/workflows/ci.yml").read_text())["jobs"]["test"]["steps"]
    require(any("ctest" in step.get("run", "") for step in steps), "CI does not test")
    listed = yaml.safe_load((folder / "kustomization.yaml").read_text())["resources"]
    for path in folder.iterdir():
        document = yaml.safe_load(path.read_text())
        require(path.name in (*listed, "kustomization.yaml", f"{name}-service.yaml"), f"{path.name} is not listed")
        if path.name == f"{name}-service.yaml":
            continue
        require("kind" in document and "apiVersion" in document, f"{path.name}: no kind")
        if document["kind"] in ("StatefulSet", "Deployment"):
            (container,) = document["spec"]["template"]["spec"]["containers"]
            for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
                require(container[probe]["grpc"]["port"] == container["ports"][0]["containerPort"], probe)


def case_deploy(machine):
    shutil.copytree(HERE / "contract", machine.home / "api")
    machine.weft("new", "greeter")
    machine.weft("new", "kinds", "--proto", "api/kinds.proto")
    for name in ("greeter", "kinds"):
        project = machine.home / name
        machine.make(project)
        program = project / "build" / f"{name}-service"
        for config in (f"deploy/kubernetes/{name}-service.yaml", f"deploy/systemd/{name}-service.yaml"):
            run(program, "--config", project / config, "--check")
        if name == "greeter":
            shutil.copy(ROOT / "tools/weft/templates/service/deploy/systemd/sample-service.service",
                        project / "deploy/systemd/sample-service.service")
        check_unit(machine, project, name)
        check_manifests(project, name)
        dockerfile = (project / "deploy/Dockerfile").read_text()
        require(f"COPY --from=build /image/usr/bin/{name}-service /usr/bin/" in dockerfile, "the program is not copied")
        linked = run("ldd", program)
        for library in ("weft-core", "weft-consul", "weft-sqlite"):
            in_image = f"lib{library}0_" in dockerfile
            require(in_image == (f"lib{library}.so" in linked), f"{library}: the image and the program differ")


# ---- manual ----------------------------------------------------------------------------------------------------------


def on_terminal(machine, variables):
    """What `weft --help` writes to a terminal."""
    ours, theirs = pty.openpty()
    subprocess.run([machine.prefix / "bin/weft", "--help"], stdin=subprocess.DEVNULL, stdout=theirs, check=True,
                   timeout=STEP_SECONDS, env=environment(**{"TERM": "xterm", **variables}))  # fmt: skip
    os.close(theirs)
    text = b""
    with contextlib.suppress(OSError):  # the other end is closed
        while piece := os.read(ours, 4096):
            text += piece
    os.close(ours)
    return text.decode()


def case_manual(machine):
    listed = machine.weft("--help").partition("Commands\n")[2].partition("\n\n")[0]
    names = [line.split()[0] for line in listed.splitlines()]
    require({"new", "add", "gen", "help", "completion"} <= set(names), f"{names}")
    pages = machine.prefix / "share/man/man1"
    for name in ("weft", *(f"weft-{name}" for name in names)):
        require((pages / f"{name}.1").stat().st_size > 300, f"no page {name}.1")
        if shutil.which("man"):
            out = run("man", "--warnings", "-l", pages / f"{name}.1", env=environment(MANPAGER="cat", MANWIDTH="100"))
            require("warning" not in out and "SYNOPSIS" in out, out)
    if not shutil.which("man"):
        skip_part("man is not installed")
    for name in names:
        out = machine.weft(name, "--help")
        require("Usage\n" in out and "Examples\n" in out and max(map(len, out.splitlines())) <= 100, out)
        require(out == machine.weft("help", name), "help differs from --help")
        require(machine.weft(name, "--no-such-option", code=2).startswith("weft: --no-such-option"), "is an option")
    require(machine.weft("--version").startswith("weft 0."), "no version")
    require("\033[1m" in on_terminal(machine, {}), "no colours on a terminal")
    require("\033" not in on_terminal(machine, {"NO_COLOR": "1"}), "colours in spite of NO_COLOR")
    require("\033" not in on_terminal(machine, {"TERM": "dumb"}), "colours on a dumb terminal")
    require("is no command" in machine.weft("nwe", code=2), "nwe is a command")
    machine.weft(code=2)

    def complete(*words):
        script = ('. "$1"; shift; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _weft; printf "%s\\n" "${COMPREPLY[@]}"')
        file = machine.prefix / "share/bash-completion/completions/weft"
        return run("bash", "-c", script, "bash", file, *words, cwd=machine.home).split()

    (machine.home / "x.proto").touch()
    require(set(complete("weft", "")) == {*names, "--help", "--version"}, f"{complete('weft', '')}")
    require(complete("weft", "ne") == ["new"], "ne is not new")
    require(complete("weft", "new", "--pr") == ["--proto"], "--pr is not --proto")
    require(complete("weft", "new", "--proto", "x") == ["x.proto"], "no path after --proto")
    require(complete("weft", "add", "m") == ["method"], "m is not method")
    require(complete("weft", "add", "method", "X", "--request", "") == [], "a message is completed")
    if shutil.which("shellcheck"):
        run("shellcheck", "-s", "bash", machine.prefix / "share/bash-completion/completions/weft")
    zsh = machine.prefix / "share/zsh/site-functions/_weft"
    require(zsh.read_text().startswith("#compdef weft\n"), "no completion for zsh")
    if shutil.which("zsh"):
        run("zsh", "-n", zsh)
    else:
        skip_part("zsh is not installed")


CASES = {
    "new": case_new,
    "contract": case_contract,
    "grow": case_grow,
    "guide": case_guide,
    "names": case_names,
    "words": case_words,
    "shape": case_shape,
    "deploy": case_deploy,
    "manual": case_manual,
}


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("case", choices=CASES)
    parser.add_argument("--build", type=Path, required=True)
    arguments = parser.parse_args()
    need("cmake", "ninja", "ctest", "protoc", "protoc-gen-c", "gcc", "pkg-config")
    machine = Machine(arguments.build.resolve())
    try:
        CASES[arguments.case](machine)
    except Failure as failure:
        print(failure)
        return 1
    finally:
        machine.remove()
    return 0


if __name__ == "__main__":
    sys.exit(main())
