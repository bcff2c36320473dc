"""The ways in which deploy/ has a service run: as a unit of systemd, in a pod, from a bare image, by Compose. Each is
read from the file that says so."""
import json
import os
import re
import shlex
import subprocess
from pathlib import Path

import yaml

SERVICES = ("user", "order")
DOCKER_STOP_SECONDS = 10
DEREGISTER_SECONDS = 5  # what weft/app.h waits at most for a directory that is down
PROGRAM_SECONDS = 20
_UNITS = {"ms": 0.001, "s": 1, "m": 60, "min": 60, "h": 3600}


class Wrong(Exception):
    """Something is otherwise than it must be."""


def check(condition, what):
    if not condition:
        raise Wrong(what)


def seconds(text):
    """The seconds of "30s", "500ms", "1m", "0s"."""
    number, unit = re.fullmatch(r"([0-9.]+) *([a-z]*)", str(text)).groups()
    return float(number) * _UNITS[unit or "s"]


def parse_unit(path):
    """{section: {key: [value, …]}} of a unit of systemd."""
    sections, section = {}, None
    for line in path.read_text().splitlines():
        if line.startswith("["):
            section = sections.setdefault(line.strip("[]"), {})
        elif line and line[0] not in "#;":
            key, _, value = line.partition("=")
            section.setdefault(key, []).append(value)
    return sections


class Way:
    """One way in which a service is run.

    `arguments` are the program's; instead of a configuration file's path they have that of the file in deploy/ which is
    put there. `data`: the folders that it may write to. `container`: what the file says of it, as it stands there.
    """

    def __init__(self, name, service, arguments, stop_seconds, data, container=None):
        self.name, self.service, self.arguments = name, service, arguments
        self.stop_seconds, self.data, self.container = stop_seconds, data, container

    def run(self, programs, *more):
        """Runs the program with the way's arguments and more. Returns (exit code, output, errors)."""
        prefix = f"{self.service.upper()}_"
        environment = {key: value for key, value in os.environ.items() if not key.startswith(prefix)}
        done = subprocess.run([programs / f"{self.service}-service", *self.arguments, *more], env=environment, check=False,
                              stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=PROGRAM_SECONDS)  # fmt: skip
        return done.returncode, done.stdout, done.stderr

    def config(self, programs):
        """Every key's value."""
        code, output, errors = self.run(programs, "--print-config")
        check(code == 0, f"{self.name}: {errors.strip()}")
        return Config(output)

    def longest_stop(self, config):
        """The seconds that the program may take to stop, as weft/app.h does."""
        registered = config["registry.consul"] != ""
        total = seconds(config["server.drain"]) + (DEREGISTER_SECONDS if registered else 0)
        if registered or config.source("server.lame_duck") != "default":
            total += seconds(config["server.lame_duck"])
        return total


class Config:
    """What --print-config says."""

    def __init__(self, text):
        self._values = yaml.safe_load(text)
        self._sources = dict(re.findall(r"^([a-z_.]+): .*  # ([^,\n]*)", text, re.MULTILINE))

    def __getitem__(self, key):
        return self._values[key]

    def source(self, key):
        return self._sources[key]

    def port(self):
        """The one port that it listens on."""
        check(len(self["listen"]) == 1, f"it listens on {self['listen']}")
        return int(self["listen"][0].rpartition(":")[2])

    def host(self):
        return self["listen"][0].rpartition(":")[0]


class Deploy:
    """The folder deploy/ of a tree."""

    def __init__(self, tree):
        self.tree, self.folder = tree, tree / "deploy"

    def read(self, name):
        return (self.folder / name).read_text()

    def yaml(self, name):
        return yaml.safe_load(self.read(name))

    def unit(self, service):
        """Of systemd."""
        name = f"{service}-service"
        unit = parse_unit(self.folder / "systemd" / f"{name}.service")["Service"]
        program, *arguments = shlex.split(unit["ExecStart"][0])
        check(program == f"/usr/bin/{name}", f"{name}.service runs {program}")
        for at, argument in enumerate(arguments):
            if argument.startswith("/etc/weft/"):
                arguments[at] = str(self.folder / "systemd" / argument.removeprefix("/etc/weft/"))
        return Way(f"systemd/{name}.service", service, arguments, seconds(unit["TimeoutStopSec"][0]),
                   [f"/var/lib/{unit['StateDirectory'][0]}"], unit)  # fmt: skip

    def pod(self, service):
        """Of Kubernetes."""
        name = f"{service}-service"
        spec = self.yaml(f"kubernetes/{name}/statefulset.yaml")["spec"]["template"]["spec"]
        (container,) = spec["containers"]
        mounts = {mount["name"]: mount["mountPath"] for mount in container["volumeMounts"]}
        arguments = list(container["args"])
        for at, argument in enumerate(arguments):
            if argument.startswith(mounts["config"]):
                arguments[at] = str(self.folder / "kubernetes" / name / Path(argument).name)
        return Way(f"kubernetes/{name}", service, arguments, spec["terminationGracePeriodSeconds"], [mounts["data"]],
                   container)  # fmt: skip

    def image(self, service):
        """Run without more words."""
        text = self.read("docker/Dockerfile")
        name = f"{service}-service"
        stage = re.search(rf"^FROM run AS {name}\n((?:.+\n)*)", text, re.MULTILINE).group(1)
        words = {key: json.loads(value) for key, value in re.findall(r"^(ENTRYPOINT|CMD) (.*)$", stage, re.MULTILINE)}
        check(words["ENTRYPOINT"] == [f"/usr/bin/{name}"], f"the image {name} runs {words['ENTRYPOINT']}")
        return Way(f"docker/Dockerfile ({name})", service, words["CMD"], DOCKER_STOP_SECONDS,
                   re.findall(r"^VOLUME (\S+)$", text, re.MULTILINE),
                   {"port": int(re.search(r"^EXPOSE (\d+)$", text, re.MULTILINE).group(1))})  # fmt: skip

    def containers(self, service):
        """Of Compose: one or more."""
        for name, container in self.yaml("compose.yaml")["services"].items():
            if container["image"].startswith(f"{service}-service:"):
                yield Way(f"compose.yaml ({name})", service, container["command"],
                          seconds(container["stop_grace_period"]),
                          [volume.partition(":")[2] for volume in container["volumes"]], container)  # fmt: skip

    def ways(self, service):
        return [self.unit(service), self.pod(service), self.image(service), *self.containers(service)]
