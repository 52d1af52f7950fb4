"""One sample product on disk: a SAFE folder, or a zip of it."""

import shutil
import tempfile
import zipfile
from pathlib import Path

from converters.samples import pixels
from converters.samples.manifest import manifest
from converters.samples.metadata import documents
from converters.samples.scene import Scene


def write(scene: Scene, folder: Path) -> Path:
    """Write the product into a folder and give its path; one of the same name that is there already is replaced.

    The same scene gives the same bytes. Nothing stands under the product's name before it is whole.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".sample-", dir=folder) as private:
        root, scratch = Path(private, "product"), Path(private, "scratch")
        root.mkdir()
        scratch.mkdir()
        tally = pixels.write(scene, root, scratch)
        for name, content in documents(scene, pixels.images(scene), tally).items():
            path = root / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
        (root / "manifest.safe").write_bytes(manifest(scene, root))
        if scene.packing in ("SAFE", "bare"):
            made, target = root, folder / f"{scene.name}{'.SAFE' if scene.packing == 'SAFE' else ''}"
            shutil.rmtree(target, ignore_errors=True)
        else:
            made, target = scratch / "zip", folder / f"{scene.name}.zip"
            _zip(scene, root, made)
        made.replace(target)
    return target


def _zip(scene: Scene, root: Path, path: Path) -> None:
    """Store the files as they are, since the images are compressed already, in the order of their names."""
    inside = f"{scene.name}.SAFE/" if scene.packing == "zip" else ""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        for file in sorted(path for path in root.rglob("*") if path.is_file()):
            info = zipfile.ZipInfo(inside + file.relative_to(root).as_posix(), scene.generated.timetuple()[:6])
            info.create_system = 3  # Unix, wherever it is made
            info.external_attr = 0o100644 << 16
            info.file_size = file.stat().st_size
            with archive.open(info, "w") as target, file.open("rb") as source:
                shutil.copyfileobj(source, target, 1 << 20)
