"""Dockerfile and compose file: no engine runs them here; what they say is compared with the code, and done by hand."""

import json
import os
import re
import shlex
import socket
import subprocess
import sys
import tomllib
import urllib.request
from pathlib import Path

import click
import pytest
import yaml

from kartotek.cli import cli
from kartotek.settings import Settings

ROOT = Path(__file__).resolve().parents[1]
MAIN = "from kartotek.cli import main; main()"


@pytest.fixture(scope="module")
def compose():
    """The compose file, its variables filled in with their defaults."""
    text = re.sub(r"\$\{\w+:-([^}]*)\}", r"\1", (ROOT / "docker-compose.yml").read_text())
    assert "$" not in text
    return yaml.safe_load(text)


@pytest.fixture(scope="module")
def ours(compose):
    """The services that run kartotek."""
    return {name: service for name, service in compose["services"].items() if service["image"] == "kartotek"}


@pytest.fixture(scope="module")
def dockerfile():
    """(instruction, its arguments), in order."""
    text = (ROOT / "Dockerfile").read_text()
    lines = re.sub(r"\\\n\s*", "", re.sub(r"^#.*\n", "", text, flags=re.M)).splitlines()
    return [tuple(line.split(" ", 1)) for line in lines if line]


def last(dockerfile, instruction):
    return [arguments for name, arguments in dockerfile if name == instruction][-1]


def test_every_setting_of_the_compose_file_is_one_that_the_code_reads(ours):
    known = {f"KARTOTEK_{name.upper()}" for name in Settings.model_fields}
    documented = set(re.findall(r"`(AWS_\w+)`", (ROOT / "docs/reference/settings.md").read_text()))
    assert set(ours) == {"api", "migrate", "convert"}
    for service in ours.values():
        given = set(service["environment"])
        assert {name for name in given if name.startswith("KARTOTEK_")} <= known
        assert {name for name in given if not name.startswith("KARTOTEK_")} <= documented
        assert {"KARTOTEK_DATABASE", "KARTOTEK_STORAGE", "AWS_ENDPOINT_URL"} <= given
        assert service["environment"] == ours["api"]["environment"]


def test_the_parts_of_the_compose_file_fit_each_other(compose, ours):
    services, settings = compose["services"], ours["api"]["environment"]
    database = services["database"]["environment"]
    assert settings["KARTOTEK_DATABASE"] == (
        f"postgresql://{database['POSTGRES_USER']}:{database['POSTGRES_PASSWORD']}@database:5432/{database['POSTGRES_DB']}"
    )
    said = " ".join(services["storage"]["command"])
    assert f"--access {settings['AWS_ACCESS_KEY_ID']} --secret {settings['AWS_SECRET_ACCESS_KEY']} " in said
    assert f"--region {settings['AWS_REGION']} " in said
    assert settings["AWS_ENDPOINT_URL"] == f"http://storage{re.search(r'--port (:[0-9]+)', said)[1]}"
    # The bucket is the folder that the volume makes below the one that is served.
    assert services["storage"]["volumes"] == [f"files:/data/{settings['KARTOTEK_STORAGE'].removeprefix('s3://')}"]
    for service in services.values():
        for name, needed in service.get("depends_on", {}).items():
            healthy = needed["condition"] == "service_healthy"
            assert "healthcheck" in services[name] if healthy else services[name]["command"] == ["migrate"]
        for volume in service.get("volumes", []):
            assert volume.split(":")[0] in compose["volumes"] or volume.startswith("./")


def test_nothing_but_the_api_is_published_and_that_on_this_machine(compose):
    ports = {name: service["ports"] for name, service in compose["services"].items() if "ports" in service}
    assert ports == {"api": ["127.0.0.1:8000:8000"]}


def test_the_api_is_given_longer_to_stop_than_it_takes(ours):
    assert int(ours["api"]["stop_grace_period"].removesuffix("s")) > Settings().stop_seconds


def test_the_image_holds_each_package_pinned_by_hash_and_no_root(dockerfile):
    copied = {name for kind, arguments in dockerfile if kind == "COPY" for name in shlex.split(arguments)[:-1]}
    wheel = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["hatch"]["build"]["targets"]["wheel"]
    assert set(wheel["packages"]) <= copied
    sources = {name for name in copied if not name.startswith(("--from", "/"))}
    assert all((ROOT / name).exists() for name in sources)
    let_in = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    assert let_in == sources
    installs = [arguments for kind, arguments in dockerfile if kind == "RUN" and " pip install" in arguments]
    assert "--require-hashes -r requirements.txt" in installs[0] and "--no-deps --no-build-isolation ." in installs[1]
    assert len(installs) == 2 and last(dockerfile, "USER") not in {"root", "0"}
    assert last(dockerfile, "EXPOSE") == str(Settings().port)


def test_what_the_image_takes_out_again_is_what_building_takes(dockerfile):
    built = tomllib.loads((ROOT / "pyproject.toml").read_text())["dependency-groups"]["build"]
    [removed] = re.findall(r"pip uninstall --yes (.*)", "\n".join(arguments for _, arguments in dockerfile))
    assert sorted(removed.split()) == sorted(built)


def test_commands_of_image_and_compose_file_are_ones_that_there_are(dockerfile, ours):
    assert json.loads(last(dockerfile, "ENTRYPOINT")) == ["kartotek"]
    commands = [json.loads(last(dockerfile, "CMD")), ours["api"]["command"], ours["migrate"]["command"], ["convert"]]
    assert ours["convert"]["entrypoint"] == ["kartotek", "convert"]
    for name, *options in commands:
        command = cli.get_command(click.Context(cli), name)
        assert {word for word in options if word.startswith("--")} <= {
            opt for one in command.params for opt in one.opts
        }


def ran(words, environment, **more):
    """What a command of the image prints, as a process of this machine."""
    command = [sys.executable, "-c", MAIN, *words]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300, **more)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_what_the_compose_file_says_works(compose, ours, dockerfile, make_database, bucket, products, tmp_path):
    """Migrate, serve, convert, read back: with its commands and environment, and other servers at its addresses."""
    settings = ours["api"]["environment"]
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    here = {
        "KARTOTEK_DATABASE": make_database("postgis").replace("+psycopg", ""),  # the form that it has there
        "KARTOTEK_STORAGE": bucket,
        **{name: os.environ[name] for name in settings if name.startswith("AWS_")},
        "KARTOTEK_PORT": str(port),
    }
    environment = os.environ | settings | here
    assert "tables at head" in ran(ours["migrate"]["command"], environment)
    with (tmp_path / "log").open("w") as log, subprocess.Popen(
        [sys.executable, "-c", MAIN, *ours["api"]["command"]], env=environment, cwd=tmp_path, text=True,
        stdout=subprocess.PIPE, stderr=log,
    ) as served:  # fmt: skip
        try:
            lines = [served.stdout.readline() for _ in range(5)]
            assert lines[0].split() == ["page", f"{settings['KARTOTEK_URL']}/"]  # links are the public ones
            health = json.loads(last(dockerfile, "HEALTHCHECK").partition(" CMD ")[2])
            assert health[0] == "python" and "8000" in health[2]
            checked = subprocess.run([sys.executable, "-c", health[2].replace("8000", str(port))], timeout=60)
            assert checked.returncode == 0
            product = next(products.glob("*.zip"))
            item = ran([*ours["convert"]["entrypoint"][1:], product.name], environment, cwd=product.parent).strip()
            collection, _, name = item.partition("/")
            found = json.loads(fetched(port, f"/collections/{collection}/items/{name}"))
            href = found["assets"]["B04"]["href"]
            assert href.startswith(f"{settings['KARTOTEK_URL']}/files/")
            content = fetched(port, href.removeprefix(settings["KARTOTEK_URL"]))
            assert len(content) == found["assets"]["B04"]["file:size"]
        finally:
            served.terminate()
            assert served.wait(60) == 0
    told = [json.loads(line) for line in (tmp_path / "log").read_text().splitlines() if line.startswith("{")]
    assert [line["status"] for line in told] == [200, 200, 200]
    unused = subprocess.run(
        [sys.executable, "-c", health[2].replace("8000", str(port))], timeout=60, stderr=subprocess.DEVNULL
    )
    assert unused.returncode != 0  # what no longer answers is not healthy


def fetched(port, path):
    with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=60) as answer:
        return answer.read()
