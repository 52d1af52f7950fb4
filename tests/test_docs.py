"""What the documentation says to type is typed, page by page, in an empty folder."""

import itertools
import os
import re
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PAGES = sorted([*ROOT.glob("docs/tutorials/*.md"), *ROOT.glob("docs/how-to/*.md")])
LONG = {
    "add-a-sensor", "bulk", "cluster", "convert", "exchange", "open-data-cube", "private-collections",
    "read-from-python", "register", "upkeep",
}  # fmt: skip
"""Pages that convert product after product, or start command after command: among the full counts."""
FENCE = re.compile(r"^```(bash|python)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\]\(([^)#\s]+)(?:#[^)]*)?\)")


@pytest.mark.parametrize(
    "page",
    [
        pytest.param(page, id=page.stem, marks=[pytest.mark.full] if page.stem in LONG else [])
        for page in PAGES
        if FENCE.search(page.read_text())
    ],
)
def test_commands_of_the_page_work(page, small_products, tmp_path, request):
    place = socket.socket()
    place.bind(("127.0.0.1", 0))
    port = place.getsockname()[1]
    place.close()
    environment = os.environ | {"KARTOTEK_PORT": str(port), "PATH": f"{_bin(tmp_path)}:{os.environ['PATH']}"}
    if "KARTOTEK_STORAGE=s3://" in page.read_text():
        environment["KARTOTEK_DATABASE"] = request.getfixturevalue("make_database")("postgis")
        environment["KARTOTEK_STORAGE"] = request.getfixturevalue("bucket")
        environment |= {name: value for name, value in os.environ.items() if name.startswith("AWS_")}
    environment |= _installs_into(tmp_path / "site")
    running, python = None, []
    work = tmp_path / "work"
    work.mkdir()
    try:
        for language, text in _commands(page):
            text = text.replace("127.0.0.1:8000", f"127.0.0.1:{port}")
            if "examples/" in text and not (work / "examples").exists():
                shutil.copytree(ROOT / "examples", work / "examples")
            # Each page needs samples; they are made by this very command once for all tests.
            if "kartotek sample products\n" in text:
                shutil.copytree(small_products, work / "products")
                text = text.replace("kartotek sample products\n", "")
            if text.strip() == "kartotek serve":
                running = subprocess.Popen(["kartotek", "serve"], cwd=work, env=environment, stdout=subprocess.DEVNULL)
                _wait(f"http://127.0.0.1:{port}/livez")
                continue
            # The Python of a page is one program, as a reader types it into one notebook.
            python += [text] if language == "python" else []
            command = ["bash", "-euc", text] if language == "bash" else [sys.executable, "-c", "\n".join(python)]
            done = subprocess.run(command, cwd=work, env=environment, capture_output=True, text=True, timeout=240)
            assert done.returncode == 0, f"{page.name}: {text}\n{done.stdout}\n{done.stderr}"
    finally:
        if running is not None:
            running.terminate()
            running.wait(20)


@pytest.mark.parametrize("page", sorted([ROOT / "README.md", *ROOT.glob("docs/**/*.md")]), ids=lambda page: page.stem)
def test_links_of_the_page_lead_somewhere(page):
    for target in LINK.findall(page.read_text()):
        if "://" not in target:
            assert (page.parent / target).exists(), f"{page.relative_to(ROOT)} links to {target}"


def test_every_page_stands_in_the_navigation():
    navigation = (ROOT / "mkdocs.yml").read_text()
    for page in ROOT.glob("docs/**/*.md"):
        assert str(page.relative_to(ROOT / "docs")) in navigation


def test_every_command_and_setting_is_in_the_reference():
    from kartotek.cli import COMMANDS
    from kartotek.settings import Settings

    commands = (ROOT / "docs/reference/command-line.md").read_text()
    settings = (ROOT / "docs/reference/settings.md").read_text()
    assert all(f"`{command}" in commands for command in COMMANDS)
    assert all(f"`KARTOTEK_{name.upper()}`" in settings for name in Settings.model_fields)


def _commands(page: Path) -> Iterator[tuple[str, str]]:
    """What the page says to type; the Python that stands between two other things is typed in one go."""
    for language, found in itertools.groupby(FENCE.findall(page.read_text()), lambda one: one[0]):
        texts = [text for _, text in found]
        yield from [(language, "\n".join(texts))] if language == "python" else [(language, text) for text in texts]


def _bin(folder: Path) -> Path:
    """A folder with `kartotek` and `python` as this environment has them."""
    made = folder / "bin"
    made.mkdir()
    # No links: through one Python would not see that it is a virtual environment's.
    for name, words in (("kartotek", '-c "from kartotek.cli import main; main()"'), ("python", "")):
        (made / name).write_text(f'#!/bin/sh\nexec {sys.executable} {words} "$@"\n')
        (made / name).chmod(0o755)
    return made


def _installs_into(folder: Path) -> dict[str, str]:
    """The environment in which pip installs into a folder, without a network, and Python finds what lies there."""
    # Of an option that begins with "no", pip takes 0 for "given".
    pip = {"PIP_TARGET": str(folder), "PIP_NO_DEPS": "1", "PIP_NO_INDEX": "1", "PIP_NO_BUILD_ISOLATION": "0"}
    return pip | {"PYTHONPATH": os.pathsep.join([str(folder), os.environ["PYTHONPATH"]])}


def _wait(address: str) -> None:
    for _ in range(300):
        try:
            urllib.request.urlopen(address, timeout=1).close()
            return
        except OSError:  # URLError, a refused connection, a second without an answer
            time.sleep(0.1)
    raise AssertionError(f"{address} does not answer")
