"""The notebooks of the tutorials are run as a reader runs them, on the products that their page says to make."""

import subprocess
import sys
from pathlib import Path

import pytest

from catalog.store import Catalog
from converters.convert import Recipe
from jobs.convert import Failed, convert_all
from jobs.worker import Limits
from kartotek.settings import Settings
from kartotek.storage import open_storage

nbclient = pytest.importorskip("nbclient")
nbformat = pytest.importorskip("nbformat")

TUTORIALS = Path(__file__).resolve().parents[1] / "docs" / "tutorials"
NOTEBOOKS = sorted(TUTORIALS.glob("*.ipynb"))
SHOWN = {
    "first-image": "assert image.shape[0] == 3 and 0.05 < float(image.mean()) < 0.9",
    "ndvi-year": "assert len(series) == 6 and series.iloc[2:5].max() > series.iloc[0] + 0.05 and share.min() < 0.95",
    "before-and-after": "assert abs(float(change.median())) < 0.001\n"
    "assert 990 < float((stored.red - first.red).median()) < 1010",
}
"""What has to be true at a notebook's end."""


@pytest.fixture(scope="module")
def root(once, serving):
    """A server on a year near Uppsala."""

    def fill(folder: Path) -> None:
        subprocess.run([sys.executable, TUTORIALS / "a_year.py", folder / "products"], check=True)
        settings = made(folder)
        catalog, storage = Catalog(settings.database), open_storage(settings.storage)
        catalog.migrate()
        products = sorted((folder / "products").iterdir())
        for outcome in convert_all(products, Recipe(), storage, catalog, limits=Limits.of(settings)):
            assert not isinstance(outcome, Failed), outcome
        catalog.close()

    def made(folder: Path) -> Settings:
        return Settings(database=f"sqlite:///{folder / 'kartotek.db'}", storage=str(folder / "store"))

    with serving(made(once("year", fill))) as started:
        yield started.root


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_the_notebook_runs_and_shows_what_it_says(path, root, tmp_path):
    book = nbformat.read(path, as_version=4)
    for cell in book.cells:
        cell.source = cell.source.replace("http://127.0.0.1:8000", root)
    book.cells.append(nbformat.v4.new_code_cell(SHOWN[path.stem]))
    done = nbclient.NotebookClient(book, timeout=120, resources={"metadata": {"path": str(tmp_path)}}).execute()
    pictures = [out for cell in done.cells for out in cell.get("outputs", ()) if "image/png" in out.get("data", {})]
    assert len(pictures) == 1 and len(pictures[0]["data"]["image/png"]) > 10_000


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_it_is_kept_without_outputs_and_names_no_machine(path):
    book = nbformat.read(path, as_version=4)
    nbformat.validate(book)
    code = [cell for cell in book.cells if cell.cell_type == "code"]
    assert code and all(cell.outputs == [] and cell.execution_count is None for cell in code)
    assert path.stat().st_size < 10_000
    assert not any(word in path.read_text() for word in ("/home", "/root", "/tmp", "/Users", "/work"))
    assert set(book.metadata) == {"kernelspec", "language_info"}


def test_there_are_three_and_the_page_leads_to_each():
    page = (TUTORIALS / "notebooks.md").read_text()
    assert {path.stem for path in NOTEBOOKS} == set(SHOWN)
    assert all(f"({path.name})" in page for path in NOTEBOOKS)
