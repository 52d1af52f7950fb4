"""One product in; its COGs, index squares, thumbnail and STAC item out, in a private folder. Nothing is visible yet."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet
import pystac
from numpy.typing import NDArray

from converters import items, thumbnail, warp
from converters.assembly import assemble
from converters.extent import Extent, Outline, stated
from converters.fingerprint import Fingerprint
from converters.profiles import Profile
from converters.selection import Selection
from kartotek import footprints, grids, squares
from kartotek.errors import BrokenProduct, OutsideGrid, UnsupportedProduct
from kartotek.grids import Grid
from kartotek.indices import COUNTED
from kartotek.nodata import present
from kartotek.product import CollectionType, Kind, Layer, Product, usual_render
from kartotek.stopwatch import Stopwatch

MAX_STRETCH = 12
"""Times its pixels that a layer may have after a warp."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """How a product is to be converted."""

    crs: str = grids.NATIONAL
    """Authority code of the CRS to write in, or "native" for the product's own."""
    allow_partial: bool = False
    """Convert what is there of a product with missing or unreadable bands, and say so in the item."""
    profile: Profile = Profile.STANDARD
    """How blocks are packed."""
    bands: Selection = field(default_factory=dict, hash=False)
    """Which layers are kept of collections of which not all are."""
    threads: int = 2

    @property
    def text(self) -> str:
        """What decides the bytes, in a line, for the ledger.

        >>> Recipe().text
        'crs=EPSG:3006'
        >>> Recipe(profile=Profile.COMPACT, bands={"sentinel-2-l2a": ("B04", "SCL")}).text
        'crs=EPSG:3006; profile=compact; bands=sentinel-2-l2a:B04,SCL'
        """
        parts = [f"crs={self.crs}"]
        if self.allow_partial:
            parts.append("partial")
        if self.profile is not Profile.STANDARD:
            parts.append(f"profile={self.profile}")
        if self.bands:
            parts.append("bands=" + " ".join(f"{name}:{','.join(kept)}" for name, kept in sorted(self.bands.items())))
        return "; ".join(parts)


@dataclass(frozen=True, slots=True, kw_only=True)
class Converted:
    """What conversion made; nothing of it is visible to anyone yet."""

    item: pystac.Item
    """Asset hrefs are names of files in `folder`."""
    collection: CollectionType
    folder: Path
    squares: tuple[squares.Square, ...]
    notes: tuple[str, ...] = ()
    """What the user ought to know, such as bands left out."""
    timings: Mapping[str, float] = field(default_factory=dict)
    """Stage → seconds: `decode`, `warp`, `encode`; and what came before these."""
    stated: Outline | None = None
    """Where the metadata says that the product has data."""
    source: Fingerprint | None = None
    """What it was made of, where somebody has read it all."""


Progress = Callable[[str, float], None]
"""Is told what is at work, and the share that is done, 0 to 1."""


def convert(product: Product, folder: Path, recipe: Recipe, progress: Progress | None = None) -> Converted:
    """Convert a product, or what the recipe keeps of it, into files in a folder.

    Raises OutsideGrid, BrokenProduct (a band is missing or unreadable; each is named) or another ProductError.
    """
    product, left_out = _narrowed(product, recipe)
    check_area(product, recipe)
    if product.missing and not recipe.allow_partial:
        raise BrokenProduct(
            f"{product.path.name}: {'; '.join(product.missing)}; fetch the product again, or convert what there is by "
            "--allow-partial"
        )
    work = _Work(product, folder, recipe, list(product.missing), left_out)
    # Coarse layers first: what stays in memory for squares and thumbnail is then still small while 10 m bands are read.
    layers = sorted(product.layers, key=lambda layer: (-layer.type.resolution, layer.name))
    for number, layer in enumerate(layers):
        if progress:
            progress(layer.name, number / len(layers))
        work.take(layer)
    if progress:
        progress("item", 1.0)
    return work.finish()


def _narrowed(product: Product, recipe: Recipe) -> tuple[Product, tuple[str, ...]]:
    """A product with the layers that are kept, and the names of the others. Raises UnsupportedProduct."""
    kind = product.collection
    if kind.id not in recipe.bands:
        return product, ()
    kept = recipe.bands[kind.id]
    layers = tuple(layer for layer in product.layers if layer.name in kept)
    if not kept:
        raise UnsupportedProduct(
            f"{product.path.name}: none of its bands is to be kept; give --bands some of {kind.id}'s: "
            f"{', '.join(layer.name for layer in kind.layers)}"
        )
    return replace(product, layers=layers), tuple(layer.name for layer in product.layers if layer not in layers)


def check_area(product: Product, recipe: Recipe) -> None:
    """Raise OutsideGrid where the product does not meet the area for which its new CRS is made."""
    if recipe.crs != grids.NATIONAL:
        _check_size(product, recipe)
        return
    area = grids.national_area()
    # What the metadata says of the footprint and of the pixels: either may be wrong, or missing.
    stated = [product.footprint] if product.footprint else []
    stated += [footprints.from_projected(footprints.box(layer.grid.bounds), layer.grid.crs) for layer in product.layers]
    for footprint in stated:
        if footprint.intersects(footprints.box(area)):
            continue
        west, south, east, north = footprint.bounds
        raise OutsideGrid(
            f"{product.path.name}: lies at {west:.2f} to {east:.2f} E, {south:.2f} to {north:.2f} N, outside the area "
            f"of {grids.NATIONAL} ({area.left} to {area.right} E, {area.bottom} to {area.top} N); give --crs native, "
            "or another --crs"
        )


def _check_size(product: Product, recipe: Recipe) -> None:
    """Raise OutsideGrid where a CRS would stretch the product beyond reason; Web Mercator, at 69 N, does it by 8."""
    for layer in product.layers:
        if recipe.crs == "native" or warp.copies(layer.grid, recipe.crs):
            continue
        stretched = warp.outline(layer.grid, recipe.crs)
        area = (stretched.right - stretched.left) * (stretched.top - stretched.bottom)
        pixels = area / warp.resolution(layer.grid, recipe.crs) ** 2
        if not pixels <= MAX_STRETCH * layer.grid.columns * layer.grid.rows:  # NaN and infinity too
            raise OutsideGrid(
                f"{product.path.name}: {recipe.crs} is not made for where it lies: {layer.name} would get {pixels:.2g} "
                "pixels; give --crs native, or another --crs"
            )


class _Work:
    """The state of one conversion, layer by layer."""

    def __init__(
        self, product: Product, folder: Path, recipe: Recipe, missing: list[str], left_out: tuple[str, ...]
    ) -> None:
        self.product, self.folder, self.recipe, self.missing = product, folder, recipe, missing
        self.left_out = left_out
        self.extent = Extent()
        self.watch = Stopwatch()
        self.written: dict[str, items.WrittenLayer] = {}
        self.at_square_size: dict[str, tuple[NDArray[Any], Grid]] = {}
        self.small: dict[str, list[thumbnail.Shown]] = {}
        kind = product.collection
        shown = usual_render(kind.renders)
        self.render = None if shown is None else kind.renders[shown]
        wanted = {name for index in COUNTED.values() for name in (index.first, index.second)}
        self.counted = {
            layer.name for layer in kind.layers if layer.bands and layer.bands[0].common_name in wanted
            and layer.kind is Kind.MEASUREMENT
        } | {kind.mask or ""}  # fmt: skip
        counted = [layer.grid.resolution for layer in product.layers if layer.name in self.counted]
        self.square_pixel = max([squares.PIXEL, *counted])
        # Where none of the instrument's bands is kept, what is kept of the others says where there is data.
        names = frozenset(layer.name for layer in product.layers)
        self.outlined = (kind.outlined & names or names) if left_out else kind.outlined

    def take(self, layer: Layer) -> None:
        """Read, place and write one layer, and keep of it what squares, footprint and thumbnail need."""
        path = self.folder / f"{layer.name}.tif"
        counted = layer.name in self.counted
        try:
            made = assemble(
                layer, path, self.recipe.crs, keep=counted and layer.grid.resolution == self.square_pixel,
                profile=self.recipe.profile, threads=self.recipe.threads, watch=self.watch,
            )  # fmt: skip
        except BrokenProduct as error:
            if not self.recipe.allow_partial:
                raise BrokenProduct(f"{self.product.path.name}: {error}") from error
            self.missing.append(str(error))
            return
        self.written[layer.name] = items.WrittenLayer(
            layer=layer, grid=made.grid, path=path, delivered=made.delivered, resampled=made.resampled
        )
        if layer.name in self.outlined:
            self.extent.add(made.valid, made.valid_grid)
        levels = [(level, pixels) for level, pixels in enumerate(made.levels) if pixels is not None]
        if counted:
            # The level whose pixels are those of the squares, so that published files give the same counts again.
            for level, pixels in levels:
                if made.grid.resolution * 2**level == self.square_pixel:
                    self.at_square_size[layer.name] = (pixels[0], made.grid.coarser(level))
        if self.render is not None and layer.name in self.render.assets:
            fitting = [(level, pixels) for level, pixels in levels if max(pixels.shape) <= 2 * thumbnail.SIZE]
            level, pixels = fitting[0] if fitting else levels[-1]
            grid = made.grid.coarser(level)
            self.small[layer.name] = [thumbnail.Shown(layer, band.copy(), grid) for band in pixels]

    def finish(self) -> Converted:
        """The item and the files beside the COGs."""
        product = self.product
        if not self.written:
            raise BrokenProduct(f"{product.path.name}: no band could be read: {'; '.join(self.missing)}")
        outline = self.extent.outline()
        if outline.ring.is_empty:
            raise UnsupportedProduct(f"{product.path.name}: has no area with data in all of its bands")
        others: dict[str, pystac.Asset] = {}
        if self.render is not None and all(name in self.small for name in self.render.assets):
            bands = [band for name in self.render.assets for band in self.small[name]]
            path = self.folder / "thumbnail.png"
            path.write_bytes(thumbnail.thumbnail(bands, rescale=self.render.rescale))
            others["thumbnail"] = items.beside("thumbnail", path)
        counted = self._count()
        if counted:
            path = self.folder / "squares.parquet"
            table = squares.to_table(counted, item=product.id, indices=list(COUNTED.values()))
            pyarrow.parquet.write_table(table, path, compression="zstd")
            others["squares"] = items.beside("squares", path)
        order = {layer.name: number for number, layer in enumerate(product.collection.layers)}
        return Converted(
            item=items.item(
                product,
                layers=sorted(self.written.values(), key=lambda written: order.get(written.layer.name, len(order))),
                outline=outline,
                others=others,
                profile=self.recipe.profile,
                missing=self.missing,
                left_out=self.left_out,
            ),
            collection=product.collection,
            folder=self.folder,
            squares=counted,
            notes=tuple(self.missing),
            timings=self.watch.seconds,
            stated=stated(product),
        )

    def _count(self) -> tuple[squares.Square, ...]:
        """The index squares; none off the national grid, nor where the mask is missing that says what is clear."""
        kept = self.at_square_size
        if not kept or next(iter(kept.values()))[1].crs != grids.NATIONAL:
            return ()
        mask = self.product.collection.mask
        if mask and mask not in kept:
            return ()
        grid = _common([grid for _, grid in kept.values()])
        layers = {name: self.written[name].layer for name in kept}
        arrays = {name: _cut(pixels, own, grid, layers[name].type.nodata) for name, (pixels, own) in kept.items()}
        bands = {
            str(layer.type.bands[0].common_name): squares.Physical(
                numbers=arrays[name], nodata=layer.type.nodata, scale=layer.scale, offset=layer.offset
            )
            for name, layer in layers.items()
            if layer.type.bands
        }
        if mask:
            valid = present(arrays[mask], layers[mask].type.nodata)
            clear = [value.value for value in layers[mask].type.classes if value.clear]
        else:
            there = [present(arrays[name], layer.type.nodata) for name, layer in layers.items()]
            valid = np.logical_or.reduce(there)
            clear = []
        return tuple(
            squares.count(
                grid,
                valid=valid,
                mask=arrays.get(mask) if mask else None,
                clear=clear,
                bands=bands,
                indices=list(COUNTED.values()),
            )
        )


def _common(found: list[Grid]) -> Grid:
    """The smallest grid that holds all grids; they have the same pixel size and aligned pixels."""
    left, top = min(grid.bounds.left for grid in found), max(grid.bounds.top for grid in found)
    right, bottom = max(grid.bounds.right for grid in found), min(grid.bounds.bottom for grid in found)
    size = found[0].resolution
    return Grid(
        crs=found[0].crs,
        left=left,
        top=top,
        resolution=size,
        columns=round((right - left) / size),
        rows=round((top - bottom) / size),
    )


def _cut(pixels: NDArray[Any], own: Grid, grid: Grid, around: float) -> NDArray[Any]:
    """The pixels on a larger grid of the same pixel size, with a number around them."""
    if own == grid:
        return pixels
    row, column = round((grid.top - own.top) / grid.resolution), round((own.left - grid.left) / grid.resolution)
    cut = np.full(grid.shape, around, pixels.dtype)
    cut[row : row + own.rows, column : column + own.columns] = pixels
    return cut


def files(converted: Converted) -> Mapping[str, Path]:
    """Asset key → file."""
    return {name: converted.folder / asset.href for name, asset in converted.item.assets.items()}
