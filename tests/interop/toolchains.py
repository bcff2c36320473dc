"""Makes the foreign clients runnable: packages by their ordinary managers, in the versions that this folder pins, into
the build folder. What cannot be had raises Unavailable with the reason; what was made once is used again until its pins
change."""
import contextlib
import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
PROTO = HERE.parents[1] / "proto"
SUITE_PROTO = Path("/usr/share/grpc-proto")
SUITE_PROTOS = [SUITE_PROTO / "grpc" / "testing" / f"{name}.proto" for name in ("test", "messages", "empty")]
PROBE_PROTO = HERE.parent / "support" / "probe"
INSTALL_SECONDS = 900


class Unavailable(Exception):
    """A toolchain or a package that this machine cannot have."""


def tool(name, package):
    found = shutil.which(name)
    if not found:
        raise Unavailable(f"{name} is not installed (Debian: {package})")
    return found


def run(command, **options):
    """Runs one step of an installation. A failure makes the toolchain unavailable."""
    try:
        done = subprocess.run(list(map(str, command)), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, check=False,
                              stderr=subprocess.STDOUT, text=True, timeout=INSTALL_SECONDS, **options)  # fmt: skip
    except subprocess.TimeoutExpired as error:
        raise Unavailable(f"{Path(command[0]).name} did not end in {INSTALL_SECONDS} s") from error
    if done.returncode != 0:
        lines = done.stdout.strip().splitlines() or ["no output"]
        raise Unavailable(f"{Path(command[0]).name} failed: {' | '.join(lines[-3:])}")
    return done.stdout


@contextlib.contextmanager
def made_once(folder, sources):
    """Yields whether `folder` must be made (again) from `sources`; it is, when the block ends without an error."""
    digest = hashlib.sha256(b"".join(path.read_bytes() for path in sources)).hexdigest()
    folder.parent.mkdir(parents=True, exist_ok=True)
    stamp = folder.with_suffix(".stamp")
    with folder.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if stamp.exists() and stamp.read_text() == digest:
            yield False
            return
        stamp.unlink(missing_ok=True)
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        yield True
        stamp.write_text(digest)


def python(work):
    """A Python with grpcio, and stubs of user.proto, probe.proto and, if it is there, the interop suite beside it.
    Returns (python, stubs, programs)."""
    folder = work / "python"
    protos = [PROTO / "user.proto", PROBE_PROTO / "probe.proto", *filter(Path.exists, SUITE_PROTOS)]
    pins = HERE / "requirements.txt"
    with made_once(folder, [pins, *protos]) as needed:
        interpreter = folder / "venv" / "bin" / "python"
        stubs = folder / "stubs"
        if needed:
            run([sys.executable, "-m", "venv", folder / "venv"])
            run([interpreter, "-m", "pip", "install", "--quiet", "--only-binary", ":all:", "-r", pins])
            stubs.mkdir()
            run([interpreter, "-m", "grpc_tools.protoc", f"--python_out={stubs}", f"--grpc_python_out={stubs}",
                 *(f"-I{folder}" for folder in (PROTO, PROBE_PROTO, SUITE_PROTO)), *protos])  # fmt: skip
    return interpreter, stubs, interpreter.parent


def certificates(folder, server_names="DNS:users.example"):
    """Makes a CA (ca.crt), a server's certificate for `server_names`, and a client's: NAME.crt and NAME.key."""
    program = tool("openssl", "openssl")
    new_key = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes")
    run([program, "req", "-x509", *new_key, "-subj", "/CN=test CA", "-keyout", folder / "ca.key", "-out",
         folder / "ca.crt"])  # fmt: skip
    for name, names in ("server", server_names), ("client", "URI:spiffe://acme.example/orders"):
        (folder / "names").write_text(f"subjectAltName={names}\n")
        run([program, "req", *new_key, "-subj", f"/CN={name}", "-keyout", folder / f"{name}.key", "-out",
             folder / "request"])  # fmt: skip
        run([program, "x509", "-req", "-in", folder / "request", "-CA", folder / "ca.crt", "-CAkey", folder / "ca.key",
             "-CAcreateserial", "-extfile", folder / "names", "-days", "2",
             "-out", folder / f"{name}.crt"])  # fmt: skip


def node(work):
    """Returns (node, the folder with node_modules)."""
    program = tool("node", "nodejs")
    npm = tool("npm", "npm")
    folder = work / "node"
    pins = [HERE / "package.json", HERE / "package-lock.json"]
    with made_once(folder, pins) as needed:
        if needed:
            for path in pins:
                shutil.copy(path, folder)
            run([npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund"], cwd=folder)
    return program, folder


def go_environment():
    """What the go command may do: nothing that go.mod and go.sum do not say."""
    return {**os.environ, "GOFLAGS": "-mod=readonly -buildvcs=false", "GOTOOLCHAIN": "local", "CGO_ENABLED": "0"}


def go(work):
    """Returns the folder with the programs that tests/interop/go builds: client, grpcurl, grpc-health-probe, and gRPC's own
    interop-client and interop-server."""
    program = tool("go", "golang-go")
    protoc = tool("protoc", "protobuf-compiler")
    folder = work / "go"
    sources = sorted((HERE / "go").iterdir())
    protos = [PROTO / "user.proto", PROBE_PROTO / "probe.proto"]
    with made_once(folder, [*sources, *protos]) as needed:
        programs = folder / "bin"
        if needed:
            for path in sources:
                shutil.copy(path, folder)

            def build(name, package):
                run([program, "build", "-o", programs / name, package], cwd=folder, env=go_environment())

            build("protoc-gen-go", "google.golang.org/protobuf/cmd/protoc-gen-go")
            build("protoc-gen-go-grpc", "google.golang.org/grpc/cmd/protoc-gen-go-grpc")
            plugins = [f"--plugin={programs / name}" for name in ("protoc-gen-go", "protoc-gen-go-grpc")]
            for proto in protos:
                package = f"M{proto.name}=weft.test/interop/{proto.stem}pb"
                run([protoc, *plugins, f"-I{proto.parent}", f"--go_out={folder}", f"--go_opt=module=weft.test/interop",
                     f"--go_opt={package}", f"--go-grpc_out={folder}", "--go-grpc_opt=module=weft.test/interop",
                     f"--go-grpc_opt={package}", proto])  # fmt: skip
            build("client", ".")
            build("grpcurl", "github.com/fullstorydev/grpcurl/cmd/grpcurl")
            for end in ("client", "server"):
                build(f"interop-{end}", f"google.golang.org/grpc/interop/{end}")
            build("grpc-health-probe", "github.com/grpc-ecosystem/grpc-health-probe")
    return programs


def cxx(work):
    """Returns the folder with the client and the server of tests/interop/cxx."""
    compiler = tool("g++", "g++")
    protoc = tool("protoc", "protobuf-compiler")
    plugin = tool("grpc_cpp_plugin", "protobuf-compiler-grpc")
    pkg_config = tool("pkg-config", "pkgconf")
    for proto in SUITE_PROTOS:
        if not proto.exists():
            raise Unavailable(f"there is no {proto} (Debian: grpc-proto)")
    folder = work / "cxx"
    sources = sorted((HERE / "cxx").iterdir())
    with made_once(folder, [*sources, *SUITE_PROTOS]) as needed:
        if needed:
            libraries = run([pkg_config, "--cflags", "--libs", "grpc++", "protobuf"]).split()
            run([protoc, f"--plugin=protoc-gen-grpc={plugin}", f"-I{SUITE_PROTO}", f"--cpp_out={folder}",
                 f"--grpc_out={folder}", *SUITE_PROTOS])  # fmt: skip
            run([compiler, "-std=c++17", f"-I{folder}", "-c", *folder.glob("grpc/testing/*.cc")], cwd=folder)
            for source in sources:
                run([compiler, "-std=c++17", "-Wall", f"-I{folder}", source, *folder.glob("*.o"), "-o",
                     folder / source.stem, *libraries])  # fmt: skip
    return folder


def java(work, resources=None):
    """Returns the start of a command line that runs a class of grpc-java's interop testing. What is in the folder
    `resources` goes before what its jars have."""
    program = tool("java", "default-jre-headless")
    maven = tool("mvn", "maven")
    folder = work / "java"
    pins = HERE / "java" / "pom.xml"
    with made_once(folder, [pins]) as needed:
        if needed:
            run([maven, "--batch-mode", "--quiet", "--file", pins, "dependency:copy-dependencies",
                 f"-DoutputDirectory={folder / 'lib'}", "-DincludeScope=runtime"])  # fmt: skip
    places = [resources, folder / "lib" / "*"] if resources else [folder / "lib" / "*"]
    return [program, "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-cp", ":".join(map(str, places))]
