import ast
import subprocess
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
CONTRACT = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]


def modules():
    """Every module and package of ours, by its name in an import."""
    for package in CONTRACT["root_packages"]:
        for path in (ROOT / package).rglob("*.py"):
            parts = path.relative_to(ROOT).with_suffix("").parts
            yield ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def layers():
    """The modules that the layers name, each with all below it."""
    [found] = [contract["layers"] for contract in CONTRACT["contracts"] if contract["type"] == "layers"]
    for layer in found:
        yield from (name.strip("() ") for part in layer.split("|") for name in part.split(":"))


def test_every_module_stands_in_one_layer():
    named, found = list(layers()), set(modules())
    assert len(named) == len(set(named)) and set(named) <= found
    stands = {
        module: [layer for layer in named if module == layer or module.startswith(f"{layer}.")] for module in found
    }
    # `kartotek` itself holds the layers of the ground, and imports nothing until it is asked for it.
    assert stands.pop("kartotek") == []
    body = ast.parse((ROOT / "kartotek" / "__init__.py").read_text()).body
    assert not [node for node in body if isinstance(node, ast.Import | ast.ImportFrom)]
    assert [module for module, places in stands.items() if len(places) != 1] == []
    assert len(stands) >= 70


def test_every_folder_that_is_imported_is_in_the_contract_and_in_the_wheel():
    packages = {path.parent.name for path in ROOT.glob("*/__init__.py")}
    wheel = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["hatch"]["build"]["targets"]["wheel"]
    assert packages == set(CONTRACT["root_packages"]) == set(wheel["packages"])


def test_imports_go_one_way():
    command = [sys.executable, "-c", "from importlinter.cli import lint_imports_command; lint_imports_command()"]
    done = subprocess.run([*command, "--no-cache"], cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout
    assert f"{len(CONTRACT['contracts'])} kept, 0 broken" in done.stdout
