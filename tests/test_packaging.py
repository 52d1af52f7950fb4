"""What is installed is what was tested: pinned by hash, from no address of ours."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


@pytest.mark.parametrize(
    ("name", "more_than"), [("requirements-uv.txt", 0), ("requirements.txt", 60), ("requirements-dev.txt", 150)]
)
def test_every_dependency_is_pinned_by_hash_and_names_no_address(name, more_than):
    text = (ROOT / name).read_text()
    assert "://" not in text and "--index-url" not in text and "--find-links" not in text
    blocks = re.findall(
        r"^([A-Za-z0-9._\[\]-]+)==(\S+)[^\n]*\\\n((?:    --hash=sha256:[0-9a-f]{64}(?: \\)?\n)+)", text, re.M
    )
    named = [line for line in text.splitlines() if line and not line.startswith((" ", "#"))]
    assert len(blocks) == len(named) > more_than


def test_development_pins_what_is_run_at_the_same_versions():
    def pins(name):
        return dict(re.findall(r"^([A-Za-z0-9._-]+)==(\S+)", (ROOT / name).read_text(), re.M))

    run, development = pins("requirements.txt"), pins("requirements-dev.txt")
    assert {name: development.get(name) for name in run} == run


def test_lock_of_the_page_names_no_registry():
    lock = (ROOT / "api/viewer/package-lock.json").read_text()
    assert '"resolved"' not in lock and '"integrity"' in lock


def test_help_is_quick_since_no_command_is_imported_for_it():
    code = "import sys; from kartotek.cli import cli; print({'rasterio', 'sqlalchemy', 'fastapi'} & set(sys.modules))"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "set()"
