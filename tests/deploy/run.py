#!/usr/bin/env python3
"""Judges what deploy/ says: run.py CASE --source TREE --build FOLDER --work FOLDER

    keys-SERVICE         the program takes every command line and configuration file, and has time to stop as they say
    places-SERVICE       ports, names and folders agree, within a file and between files
    form                 user-service and order-service are run alike
    units                systemd-analyze finds nothing in the units, and little to expose
    kubernetes           kustomize builds the manifests, and every field is one of Kubernetes' own
    compose              the compose file is one by its specification
    notify-SERVICE       the program, started as its unit does, tells a service manager how it is, and answers probes
    healthcheck-SERVICE  what Compose asks tells a running service from one that is gone
    image                the image is made of packages that this tree makes
    image-build          the images can be built, and their programs run in them
    systemd              a systemd of its own runs the units as they are, hardened
    can-fail             faults that are planted into deploy/ are found

Exits 77, saying why, when a tool or a program cannot be had.
"""
import argparse
import functools
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path += [str(HERE.parent / "support"), str(HERE.parent / "interop")]
import toolchains
from toolchains import Unavailable

try:
    import yaml  # noqa: F401
except ImportError:
    print(f"skipped: {sys.executable} has no yaml (Debian: python3-yaml)")
    sys.exit(77)
import call
from machine import Machine
from service import Service
from ways import SERVICES, Deploy, Wrong, check, parse_unit

SKIPPED = 77
TOOL_SECONDS = 120
EXPOSURE = 20  # tenths, as systemd-analyze security has it: 0 is none, 100 all
# The service that probes ask about, and a call that reads its store.
CONTRACTS = {"user": ("user.UserService", "GetUser"), "order": ("order.OrderService", "GetOrder")}


class Tree:
    """deploy/ of a source tree, and the programs of a build."""

    def __init__(self, source, build, work, scratch):
        self.source, self.build, self.work, self.scratch = source, build, work, scratch
        self.programs = build / "bin"
        self.deploy = Deploy(source)

    def need(self, service):
        if not (self.programs / f"{service}-service").exists():
            raise Unavailable(f"{service}-service is not built")

    def built(self):
        return [service for service in SERVICES if (self.programs / f"{service}-service").exists()]


def tool(command, **options):
    """Runs a tool. Returns its output; a failure is Wrong."""
    done = subprocess.run(list(map(str, command)), capture_output=True, check=False, text=True, timeout=TOOL_SECONDS,
                          **options)  # fmt: skip
    said = done.stderr.strip() or done.stdout[-2000:]
    check(done.returncode == 0, f"{Path(command[0]).name}: {done.returncode}: {said}")
    return done.stdout


# ---- what the program says


def keys(service, tree):
    tree.need(service)
    for way in tree.deploy.ways(service):
        code, output, errors = way.run(tree.programs, "--check")
        check(code == 0, f"{way.name}: {(errors or output).strip()}")
        longest = way.longest_stop(way.config(tree.programs))
        check(way.stop_seconds > longest, f"{way.name}: {way.stop_seconds} s to stop, but it may take {longest} s")


# ---- what must agree


def probes(container):
    return {name: value["grpc"] for name, value in container.items() if name.endswith("Probe")}


def healthcheck_target(container):
    """What Compose's check asks: (address, service)."""
    test = container["healthcheck"]["test"]
    check(test[:3] == ["CMD", "weft", "discover"], f"the healthcheck runs {test}")
    return test[3], test[test.index("--check") + 1]


def check_unit(deploy, service, config):
    way = deploy.unit(service)
    check(config.host() == "127.0.0.1", f"{way.name} listens on {config.host()}: nobody has asked for that")
    check(int(way.container["LimitNOFILE"][0]) > config["server.max_connections"] + 100,
          f"{way.name}: fewer descriptors than connections")  # fmt: skip
    socket_unit = parse_unit(deploy.folder / "systemd" / f"{service}-service.socket")
    check(socket_unit["Socket"]["ListenStream"] == config["listen"],
          f"{service}-service.socket listens elsewhere than {config['listen']}")  # fmt: skip


def check_pod(deploy, service, config):
    way, name, contract = deploy.pod(service), f"{service}-service", CONTRACTS[service][0]
    folder = f"kubernetes/{name}"
    port, container = config.port(), way.container
    service_port = deploy.yaml(f"{folder}/service.yaml")["spec"]["ports"][0]
    kustomization = deploy.yaml(f"{folder}/kustomization.yaml")
    claims = deploy.yaml(f"{folder}/statefulset.yaml")["spec"]["volumeClaimTemplates"]
    (image,) = kustomization["images"]
    (file,) = kustomization["configMapGenerator"][0]["files"]
    version = re.search(r"project\(weft VERSION (\S+)", (deploy.tree / "CMakeLists.txt").read_text()).group(1)
    check(config.host() == "", f"{way.name} listens on {config.host()}, where no other pod comes")
    ports = [entry["containerPort"] for entry in container["ports"]]
    check(ports == [port], f"{way.name}: containerPort is {ports}, not {port}")
    check(service_port["port"] == port, f"{way.name}: the Service's port is not {port}")
    check(service_port["targetPort"] == container["ports"][0]["name"], f"{way.name}: no port is called so")
    found = probes(container)
    check(set(found) == {"startupProbe", "livenessProbe", "readinessProbe"}, f"{way.name} has {set(found)}")
    check(all(probe["port"] == port for probe in found.values()), f"{way.name}: a probe asks another port than {port}")
    check(found["readinessProbe"].get("service") == contract, f"{way.name}: the readiness probe is not of {contract}")
    check("service" not in found["livenessProbe"], f"{way.name}: a restart mends nothing that {contract} waits for")
    wanted = {"name": container["image"], "newTag": version}
    check(image == wanted, f"{way.name}: the image is not {wanted}, but {image}")
    check((deploy.folder / folder / file).samefile(way.arguments[way.arguments.index("--config") + 1]),
          f"{way.name}: --config is not {file}")  # fmt: skip
    mounted = {mount["name"] for mount in container["volumeMounts"]}
    check(mounted == {"config", *(claim["metadata"]["name"] for claim in claims)}, f"{way.name} mounts {mounted}")


def check_container(way, config, agents):
    container, port = way.container, config.port()
    address = container["networks"]["default"]["ipv4_address"]
    check(healthcheck_target(container) == (f"127.0.0.1:{port}", CONTRACTS[way.service][0]),
          f"{way.name}: the healthcheck asks {healthcheck_target(container)}")  # fmt: skip
    check(config.host() == "", f"{way.name} listens on {config.host()}, where no other container comes")
    check(config["registry.address"] == address, f"{way.name} registers another address than {address}")
    check(config["registry.consul"] in agents, f"{way.name}: no agent at {config['registry.consul']}")
    check(container["build"]["target"] == container["image"].partition(":")[0], f"{way.name}: built as another's image")


def check_published(deploy):
    published = [port for container in deploy.yaml("compose.yaml")["services"].values()
                 for port in container.get("ports", [])]  # fmt: skip
    check(all(port.startswith("127.0.0.1:") for port in published), f"compose.yaml: seen from elsewhere: {published}")
    check(len(set(published)) == len(published) > 0, f"compose.yaml publishes {published}")


def check_users_target(deploy, programs):
    """order-service's way to user-service, of each kind."""
    target = {way.name: way.config(programs)["users.target"] for way in deploy.ways("order")}
    users = {way.name: way.config(programs) for way in deploy.ways("user")}
    (at,) = users["systemd/user-service.service"]["listen"]
    check(target["systemd/order-service.service"] == f"static:///{at}", f"systemd: users.target is not {at}")
    port = deploy.yaml("kubernetes/user-service/service.yaml")["spec"]["ports"][0]["port"]
    check(target["kubernetes/order-service"] == f"dns:///user-service:{port}", "kubernetes: users.target is no Service")
    names = {config["registry.service"] or "user-service" for name, config in users.items() if "compose" in name}
    targets = [value for name, value in target.items() if "compose" in name]
    check([f"consul:///{name}" for name in names] == targets, f"compose.yaml: users.target is {targets}, not {names}")


def places(service, tree):
    tree.need(service)
    deploy = tree.deploy
    agents = {f"{name}:8500" for name, container in deploy.yaml("compose.yaml")["services"].items()
              if "consul" in container["image"]}  # fmt: skip
    for way in deploy.ways(service):
        config = way.config(tree.programs)
        folder = str(Path(config["database.path"]).parent)
        check(folder in way.data, f"{way.name}: the database is in {folder}, and {way.data} may be written to")
        if way.name.startswith("systemd"):
            check_unit(deploy, service, config)
        elif way.name.startswith("kubernetes"):
            check_pod(deploy, service, config)
        elif way.name.startswith("docker"):
            check(config.port() == way.container["port"], f"{way.name} exposes another port than {config.port()}")
        else:
            check_container(way, config, agents)
    check_published(deploy)
    if service == "order":
        tree.need("user")
        check_users_target(deploy, tree.programs)


def form(tree):
    """The files of one service are those of the other, but for its names."""
    names = {"user-service": "order-service", "user.UserService": "order.OrderService"}
    manifests = [f"kubernetes/user-service/{name}.yaml" for name in ("kustomization", "statefulset", "service")]
    for name in ["systemd/user-service.service", *manifests]:
        def renamed(text):
            return re.sub("|".join(map(re.escape, names)), lambda found: names[found[0]], text)

        check(renamed(tree.deploy.read(name)) == tree.deploy.read(renamed(name)), f"{renamed(name)} is not as {name}")
    resources = tree.deploy.yaml("kubernetes/kustomization.yaml")["resources"]
    check(resources == [f"{service}-service" for service in SERVICES], f"kubernetes/kustomization.yaml has {resources}")


# ---- what the judges of others say


def units(tree):
    analyze = toolchains.tool("systemd-analyze", "systemd")
    for service in SERVICES:
        name = f"{service}-service.service"
        program = tree.scratch / f"{service}-service"  # whether it is built or not
        program.write_text("#!/bin/sh\n")
        program.chmod(0o755)
        unit = tree.scratch / name
        unit.write_text(tree.deploy.read(f"systemd/{name}").replace(f"/usr/bin/{program.name}", str(program)))
        done = subprocess.run([analyze, "verify", "--man=no", unit], stdin=subprocess.DEVNULL, capture_output=True,
                              check=False, text=True, timeout=TOOL_SECONDS)  # fmt: skip
        said = [line for line in done.stderr.splitlines() if name in line]
        check(done.returncode == 0 and not said, f"systemd-analyze verify: {done.returncode}: {done.stderr}")
        done = subprocess.run([analyze, "security", "--offline=true", f"--threshold={EXPOSURE}", "--no-pager", unit],
                              stdin=subprocess.DEVNULL, capture_output=True, check=False, text=True,
                              timeout=TOOL_SECONDS)  # fmt: skip
        check(done.returncode == 0, f"systemd-analyze security: {done.stderr} {done.stdout.strip().splitlines()[-1:]}")


def go(tree):
    """Returns the folder with the programs that go/ builds: judge and kustomize."""
    program = toolchains.tool("go", "golang-go")
    folder = tree.work / "go"
    sources = sorted((HERE / "go").iterdir())
    with toolchains.made_once(folder, sources) as needed:
        if needed:
            for path in sources:
                shutil.copy(path, folder)
            environment = {**os.environ, "GOFLAGS": "-mod=readonly -buildvcs=false", "GOTOOLCHAIN": "local",
                           "CGO_ENABLED": "0"}  # fmt: skip
            for name, package in ("judge", "."), ("kustomize", "sigs.k8s.io/kustomize/kustomize/v5"):
                toolchains.run([program, "build", "-o", folder / "bin" / name, package], cwd=folder, env=environment)
    return folder / "bin"


def kubernetes(tree):
    programs = go(tree)
    for name in ("", *(f"{service}-service" for service in SERVICES)):
        manifests = tool([programs / "kustomize", "build", tree.deploy.folder / "kubernetes" / name])
        tool([programs / "judge", "kubernetes"], input=manifests)
        kinds = [document["kind"] for document in yaml.safe_load_all(manifests)]
        wanted = ["ConfigMap", "Service", "StatefulSet"] * (1 if name else len(SERVICES))
        check(sorted(kinds) == sorted(wanted), f"kubernetes/{name} makes {kinds}")


def compose(tree):
    project = json.loads(tool([go(tree) / "judge", "compose", tree.deploy.folder / "compose.yaml"]))
    for name, container in project["services"].items():
        for place in ["dockerfile"] if "build" in container else []:
            file = Path(container["build"]["context"]) / container["build"][place]
            check(file.samefile(tree.deploy.folder / "docker" / "Dockerfile"), f"{name} is built by {file}")


def image(tree):
    """Its packages are those that this build's CPack makes."""
    packing = (tree.build / "CPackConfig.cmake").read_text()
    dockerfile = tree.deploy.read("docker/Dockerfile")
    made = re.search(r'^set\(CPACK_COMPONENTS_ALL "(.*)"\)', packing, re.MULTILINE)
    named = re.findall(r"/packages/([a-z0-9-]+)_\*\.deb", dockerfile)
    check(named and set(named) <= set(made.group(1).split(";")), f"the image has {named}; packages are {made.group(1)}")
    presets = json.loads((tree.source / "CMakePresets.json").read_text())["workflowPresets"]
    (preset,) = re.findall(r"^RUN cmake --workflow --preset (\S+)$", dockerfile, re.MULTILINE)
    check(preset in [entry["name"] for entry in presets], f"there is no workflow {preset}")


def image_build(tree):
    """Builds the images from a Debian that is made for it, and has a look around in them."""
    if os.geteuid() != 0:
        raise Unavailable("building images needs root")
    store = [toolchains.tool("buildah", "buildah"), "--root", tree.scratch / "store", "--runroot", tree.scratch / "run"]
    isolated = {**os.environ, "BUILDAH_ISOLATION": "chroot", "STORAGE_DRIVER": "vfs"}

    def buildah(*words):
        return toolchains.run([*store, *words], env=isolated).strip()

    debian = tree.scratch / "debian.tar"
    toolchains.run([toolchains.tool("mmdebstrap", "mmdebstrap"), "--quiet", "--variant=minbase", "--mode=root",
                    "--customize-hook=copy-in /etc/apt/apt.conf.d /etc/apt", "bookworm", debian])  # fmt: skip
    for base in re.findall(r"^FROM (debian:\S+)", tree.deploy.read("docker/Dockerfile"), re.MULTILINE):
        empty = buildah("from", "scratch")
        buildah("add", "--quiet", empty, debian, "/")
        buildah("commit", "--quiet", empty, f"docker.io/library/{base}")
    dockerfile = tree.deploy.folder / "docker" / "Dockerfile"
    for service in filter(lambda service: (tree.source / "services" / service).is_dir(), SERVICES):
        name = f"{service}-service"
        done = subprocess.run(list(map(str, [
            *store, "build", "--pull-never", "--layers", "--network=host", "--file", dockerfile, "--ignorefile",
            f"{dockerfile}.dockerignore", "--target", name, "--tag", name, tree.source])), env=isolated, check=False,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)  # fmt: skip
        check(done.returncode == 0, f"the image {name} cannot be built: {done.stdout[-2000:]}")
        container = buildah("from", "--pull-never", f"localhost/{name}")
        within = [*store, "run", container, "--"]
        tool([*within, f"/usr/bin/{name}", *tree.deploy.image(service).arguments, "--check"], env=isolated)
        tool([*within, "weft", "discover", "--help"], env=isolated)
        tool([*within, "sh", "-c", 'test "$(id -u)" = 65532 && test -w /data && test "$PWD" = /data'], env=isolated)


# ---- what happens when it is run


class Manager:
    """The service manager's end of sd_notify(3)."""

    def __init__(self, path):
        self.path = path
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(str(path))
        self._socket.settimeout(20)

    def wait_for(self, word):
        for _ in range(100):
            try:
                lines = self._socket.recv(4096).decode().splitlines()
            except TimeoutError as error:
                raise Wrong(f"the service manager did not hear {word}") from error
            if word in lines:
                return
        raise Wrong(f"the service manager heard a hundred words, but not {word}")


def check_health(port, service):
    for name in ("", CONTRACTS[service][0]):
        check(call.serving(port, name), f"{service}-service: {name!r} is not SERVING")
    code, _ = call.call(port, "/{}/{}".format(*CONTRACTS[service]), call.text(1, "nobody"))
    check(code == "NOT_FOUND", f"{service}-service answered {code} for what is not there")


def notify(service, tree):
    tree.need(service)
    way = tree.deploy.unit(service)
    config = tree.scratch / "config.yaml"
    at = way.arguments.index("--config") + 1
    text = Path(way.arguments[at]).read_text().replace(f"{way.data[0]}/", f"{tree.scratch}/")
    config.write_text(re.sub(r"^(listen: .*):[0-9]+", r"\1:0", text, flags=re.MULTILINE))
    arguments = [*way.arguments[:at], config, *way.arguments[at + 1 :]]
    manager = Manager(tree.scratch / "notify")
    log = tree.scratch / "log"
    with Service([tree.programs / f"{service}-service", *arguments], log,
                 environment={"NOTIFY_SOCKET": str(manager.path)}) as process:  # fmt: skip
        manager.wait_for("READY=1")
        check_health(process.address[1], service)
        process.stop()
        manager.wait_for("STOPPING=1")
        manager.wait_for("STATUS=stopped")
    config.write_text(config.read_text() + "\nno_such_key: 1\n")
    done = subprocess.run([tree.programs / f"{service}-service", *arguments], stdin=subprocess.DEVNULL, check=False,
                          capture_output=True, text=True, timeout=TOOL_SECONDS)  # fmt: skip
    never = way.container["RestartPreventExitStatus"]
    check([str(done.returncode)] == never, f"a mistake ends it with {done.returncode}; the unit knows {never}")


def healthcheck(service, tree):
    tree.need(service)
    weft = tree.programs / "weft"
    if not weft.exists():
        raise Unavailable("weft is not built")
    way = next(tree.deploy.containers(service))
    address = healthcheck_target(way.container)[0]

    def ask_for(target):
        words = [target if word == address else word for word in way.container["healthcheck"]["test"][2:]]
        return subprocess.run([weft, *words], stdin=subprocess.DEVNULL, capture_output=True, check=False, text=True,
                              timeout=TOOL_SECONDS)  # fmt: skip

    with Service([tree.programs / f"{service}-service", "--listen", "127.0.0.1:0", "--set",
                  f"database.path={tree.scratch / 'database'}"], tree.scratch / "log") as process:  # fmt: skip
        done = ask_for(process.target)
        check(done.returncode == 0, f"of {service}-service that serves: {done.returncode}: {done.stdout}{done.stderr}")
    done = ask_for(process.target)
    check(done.returncode == 1, f"of {service}-service that is gone: {done.returncode}: {done.stdout}{done.stderr}")


def lay_machine(tree, services):
    """The files of a machine with the services installed as deploy/ has them."""
    layer = tree.scratch / "layer"
    cmake = toolchains.tool("cmake", "cmake")
    tool([cmake, "--install", tree.build, "--prefix", "/usr"], env={**os.environ, "DESTDIR": str(layer)})
    for folder in ("etc/weft", "etc/weft-units"):
        (layer / folder).mkdir(parents=True)
    for service in services:
        name = f"{service}-service"
        if not (layer / "usr" / "bin" / name).exists():
            raise Unavailable(f"{name} is not installed by this build")
        shutil.copy(tree.deploy.folder / "systemd" / f"{name}.yaml", layer / "etc" / "weft")
        for kind in ("service", "socket"):
            shutil.copy(tree.deploy.folder / "systemd" / f"{name}.{kind}", layer / "etc" / "weft-units")
        more = layer / "etc" / "weft-units" / f"{name}.service.d"
        more.mkdir()
        # There is no journal in there: the one thing that is otherwise.
        log = f"StandardOutput=append:/run/outside/{name}.log\nStandardError=inherit\n"
        (more / "log.conf").write_text(f"[Service]\n{log}")
    return layer


def ask(machine, port, path, body=b""):
    """One call. Returns (code's name, answer)."""
    code, _, answer = machine.reach(sys.executable, HERE / "call.py", port, path, body.hex()).partition(" ")
    return code, bytes.fromhex(answer)


def check_confined(machine, unit):
    """The process is nobody, and cannot become somebody."""
    pid, state, text = machine.properties(unit, "MainPID", "ActiveState", "StatusText")
    check((state, text) == ("active", "serving"), f"{unit} is {state}: {text}")
    status = dict(line.split(":\t", 1) for line in machine.must("cat", f"/proc/{pid}/status").splitlines())
    check(int(status["Uid"].split()[0]) > 60000, f"{unit} runs as user {status['Uid']}")
    wanted = {"CapEff": "0" * 16, "CapBnd": "0" * 16, "NoNewPrivs": "1", "Seccomp": "2"}
    found = {name: status[name] for name in wanted}
    check(found == wanted, f"{unit} has {found}")
    return pid


def create(machine, ports, services):
    """A write in every service: a user, and an order of this user's. Returns the user's request."""
    user = call.text(1, "Ada") + call.text(2, "ada@example.org") + call.text(3, "analytical engine")
    code, answer = ask(machine, ports["user"], "/user.UserService/CreateUser", user)
    check(code == "OK", f"CreateUser: {code}")
    if "order" in services:
        user_id = answer[2 : 2 + answer[1]].decode()
        price = call.message(3, call.text(1, "EUR") + call.number(2, 99))
        item = call.message(2, call.text(1, "gear") + call.number(2, 3) + price)
        code, _ = ask(machine, ports["order"], "/order.OrderService/CreateOrder",
                      call.text(1, user_id) + item + call.text(3, "first"))  # fmt: skip
        check(code == "OK", f"CreateOrder: {code}")
    return user


def check_socket(machine, service, port):
    """systemd listens, and the service comes when it is called: also after it was stopped."""
    name = f"{service}-service"
    machine.must("sed", "-i", 's/^listen: .*/listen: ["fd:3"]/', f"/etc/weft/{name}.yaml")
    machine.must("systemctl", "start", f"{name}.socket")
    for _ in range(2):
        check(machine.properties(name, "ActiveState") == ["inactive"], f"{name} runs before it is called")
        code, _ = ask(machine, port, call.CHECK)
        check(code == "OK", f"{name}, called by its socket: {code}")
        machine.must("systemctl", "stop", name)
    machine.must("systemctl", "stop", f"{name}.socket")


def check_mistake(machine, service):
    """What cannot be right is not tried again."""
    unit = f"{service}-service.service"
    machine.must("sh", "-c", f"echo no_such_key: 1 >>/etc/weft/{service}-service.yaml")
    code, said = machine.run("systemctl", "start", unit)
    found = machine.properties(unit, "ExecMainStatus", "NRestarts", "SubState")
    check(code != 0 and found == ["2", "0", "failed"], f"with a mistake {unit} is {found}: {said}")


def systemd(tree):
    services = tree.built()
    tree.need("user")
    ports = {service: tree.deploy.unit(service).config(tree.programs).port() for service in services}
    with Machine(lay_machine(tree, services)) as machine:
        for service in services:
            machine.must("systemctl", "start", f"{service}-service")
        pids = {service: check_confined(machine, f"{service}-service.service") for service in services}
        user = create(machine, ports, services)
        for service in services:
            unit, log = f"{service}-service.service", machine.outside / f"{service}-service.log"
            machine.must("systemctl", "reload", unit)
            machine.wait(lambda log=log: "configuration read again" in log.read_text())
            check(machine.properties(unit, "MainPID") == [pids[service]], f"{unit}: a reload has started it anew")
            machine.must("systemctl", "kill", "--signal=KILL", unit)
            machine.wait(lambda unit=unit: machine.properties(unit, "NRestarts", "ActiveState") == ["1", "active"])
            check(check_confined(machine, unit) != pids[service], f"{unit}: the killed process lives")
        code, _ = ask(machine, ports["user"], "/user.UserService/CreateUser", user)
        check(code == "ALREADY_EXISTS", f"after a crash the same user can be created: {code}")
        for service in reversed(services):
            unit = f"{service}-service.service"
            machine.must("systemctl", "stop", unit)
            found = machine.properties(unit, "Result", "ExecMainStatus", "SubState")
            check(found == ["success", "0", "dead"], f"{unit} has stopped with {found}")
            check_socket(machine, service, ports[service])
            check_mistake(machine, service)


# ---- whether faults are found

FAULTS = (
    ("keys-user", "systemd/user-service.yaml", "path:", "paht:", "paht"),
    ("keys-user", "systemd/user-service.service", "TimeoutStopSec=30s", "TimeoutStopSec=10s", "to stop"),
    ("keys-user", "systemd/user-service.service", "--config", "--confg", "unrecognized"),
    ("keys-user", "kubernetes/user-service/user-service.yaml", "drain: 10s", "drain: 1m", "to stop"),
    ("keys-user", "kubernetes/user-service/user-service.yaml", "lame_duck", "lameduck", "lameduck"),
    ("keys-user", "docker/Dockerfile", '"server.drain=8s"', '"server.drain=10s"', "to stop"),
    ("keys-user", "compose.yaml", "registry.consul=", "registry.konsul=", "konsul"),
    ("keys-user", "compose.yaml", "stop_grace_period: 30s", "stop_grace_period: 15s", "to stop"),
    ("places-user", "systemd/user-service.yaml", "127.0.0.1", "", "nobody has asked"),
    ("places-user", "systemd/user-service.socket", "50051", "50052", "elsewhere"),
    ("places-user", "systemd/user-service.service", "LimitNOFILE=65536", "LimitNOFILE=1024", "descriptors"),
    ("places-user", "systemd/user-service.service", "StateDirectory=user", "StateDirectory=users", "database"),
    ("places-user", "kubernetes/user-service/user-service.yaml", "50051", "50052", "containerPort"),
    ("places-user", "kubernetes/user-service/user-service.yaml", '":', '"127.0.0.1:', "no other pod"),
    ("places-user", "kubernetes/user-service/user-service.yaml", "/data/", "/var/", "database"),
    ("places-user", "kubernetes/user-service/statefulset.yaml", "service: user.UserService", "service: user.Users",
     "readiness"),  # fmt: skip
    ("places-user", "kubernetes/user-service/service.yaml", "port: 50051", "port: 80", "Service's port"),
    ("places-user", "kubernetes/user-service/kustomization.yaml", "newTag: \"", "newTag: \"9", "image"),
    ("places-user", "docker/Dockerfile", "EXPOSE 50051", "EXPOSE 50052", "exposes"),
    ("places-user", "compose.yaml", '"127.0.0.1:50051:50051"', '"50051:50051"', "elsewhere"),
    ("places-user", "compose.yaml", "ipv4_address: 172.30.57.12", "ipv4_address: 172.30.57.13", "registers"),
    ("places-user", "compose.yaml", "--check, user.UserService", "--check, user.Users", "healthcheck"),
    ("places-order", "systemd/order-service.yaml", "127.0.0.1:50051", "127.0.0.1:50053", "users.target"),
    ("places-order", "kubernetes/order-service/order-service.yaml", "dns:///user-service", "dns:///x", "users.target"),
    ("places-order", "compose.yaml", "consul:///user-service\"", "consul:///users\"", "users.target"),
    ("form", "systemd/order-service.service", "NoNewPrivileges=yes\n", "", "is not as"),
    ("form", "kubernetes/order-service/statefulset.yaml", "drop: [ALL]", "drop: []", "is not as"),
    ("units", "systemd/user-service.service", "NoNewPrivileges", "NoNewPrivilege", "verify"),
    ("units", "systemd/user-service.service", "CapabilityBoundingSet=\n", "", "security"),
    ("kubernetes", "kubernetes/user-service/statefulset.yaml", "runAsNonRoot", "runAsNonroot", "unknown"),
    ("kubernetes", "kubernetes/user-service/kustomization.yaml", "- service.yaml", "- services.yaml", "kustomize"),
    ("compose", "compose.yaml", "read_only:", "readonly:", "not allowed"),
    ("image", "docker/Dockerfile", "libweft-consul0_", "libweft-consul1_", "libweft-consul1"),
    ("image", "docker/Dockerfile", "--preset package", "--preset packages", "no workflow"),
    ("compose", "compose.yaml", "dockerfile: deploy/docker/Dockerfile", "dockerfile: Dockerfile", "Dockerfile"),
)


def plant(tree, number, fault):
    """A copy of the tree's deploy/ with a fault in it."""
    _, name, before, after, _ = fault
    source = tree.scratch / f"fault-{number}"
    shutil.copytree(tree.deploy.folder, source / "deploy")
    for file in ("CMakeLists.txt", "CMakePresets.json"):
        shutil.copy(tree.source / file, source)
    text = (source / "deploy" / name).read_text()
    check(before in text, f"a fault that cannot be planted: {name} has no {before!r}")
    (source / "deploy" / name).write_text(text.replace(before, after))
    scratch = source / "scratch"
    scratch.mkdir()
    return Tree(source, tree.build, tree.work, scratch)


def can_fail(tree):
    found, missed, skipped = 0, [], set()
    for number, fault in enumerate(FAULTS):
        case, name, before, after, word = fault
        planted = plant(tree, number, fault)
        try:
            CASES[case](planted)
            missed.append(f"{case}: nothing is wrong with {name} for {after!r} instead of {before!r}")
        except Unavailable as error:
            skipped.add(f"{case}: {error}")
        except (Wrong, OSError) as error:
            found += word in str(error)
            if word not in str(error):
                missed.append(f"{case}: {after!r} in {name} is told as: {error}")
    print(f"{found} faults found")
    check(not missed, "; ".join(missed))
    check(found > 0, "no fault was found")
    if skipped:
        raise Unavailable("; ".join(sorted(skipped)))


CASES = {
    **{f"keys-{service}": functools.partial(keys, service) for service in SERVICES},
    **{f"places-{service}": functools.partial(places, service) for service in SERVICES},
    "form": form,
    "units": units,
    "kubernetes": kubernetes,
    "compose": compose,
    "image": image,
    "image-build": image_build,
    **{f"notify-{service}": functools.partial(notify, service) for service in SERVICES},
    **{f"healthcheck-{service}": functools.partial(healthcheck, service) for service in SERVICES},
    "systemd": systemd,
    "can-fail": can_fail,
}


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("case", choices=CASES)
    parser.add_argument("--source", type=Path, required=True, help="the tree with deploy/")
    parser.add_argument("--build", type=Path, required=True, help="the build with bin/")
    parser.add_argument("--work", type=Path, required=True, help="where packages are installed; kept")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="weft-deploy-") as scratch:
        folders = (arguments.source, arguments.build, arguments.work, Path(scratch))
        try:
            CASES[arguments.case](Tree(*(folder.resolve() for folder in folders)))
        except Unavailable as error:
            print(f"skipped: {error}")
            return SKIPPED
        except Wrong as error:
            print(f"FAILED: {arguments.case}: {error}")
            return 1
    return 0


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    sys.exit(main())
