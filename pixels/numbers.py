"""What is asked of an item in numbers: layers as they are stored, or what is computed of them in physical values."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pyproj.exceptions import ProjError

from kartotek.errors import BadRequest, NotFound
from kartotek.grids import Grid
from kartotek.nodata import held
from kartotek.stopwatch import Stopwatch
from kartotek.storage import MARKER
from pixels import coverage, layers, render, warp
from pixels.blocks import Blocks
from pixels.coverage import Coverage
from pixels.field import Group, Value, effort
from pixels.formula import Formula
from pixels.style import MAX_BANDS, Style
from pixels.warp import Pixels, Source

VERSION = "2"
"""Of numbers, and of how they are written; it changes when the same files would give others, so that
nobody keeps the old ones."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Numbers:
    """Values and where they come from."""

    values: tuple[Value, ...]
    sources: Mapping[str, Source]
    floor: float | None = None
    """What physical values are raised to before a formula is computed, where they are below it."""
    mask: str | None = None
    """The layer of classes by which pixels are left out."""
    keep: frozenset[int] = frozenset()
    """Its classes that count."""

    @property
    def computed(self) -> bool:
        """Whether something is computed, in physical values, and not handed over as it is stored."""
        return any(isinstance(value.of, Formula) for value in self.values)

    @cached_property
    def version(self) -> str:
        """Names the numbers of which files these are: another name where anything of it differs."""
        said = repr((self.values, list(self.sources.items()), self.floor, self.mask, sorted(self.keep)))
        return f"{VERSION}-{hashlib.sha256(said.encode()).hexdigest()[:16]}"

    @cached_property
    def coverage(self) -> Coverage:
        """Where all layers lie, that of the mask too."""
        return coverage.of(self.sources[name] for name in self.names(self.values))

    @property
    def effort(self) -> float:
        """More than 1 where formulas are long."""
        return effort((value.of for value in self.values), self.coverage)

    @cached_property
    def grid(self) -> Grid:
        """That of the finest layer that is looked at."""
        return self._finest(self.values)

    def _finest(self, values: Sequence[Value]) -> Grid:
        return coverage.of(self.sources[name] for value in values for name in value.names).grid

    def groups(self) -> list[Group]:
        """The values, each on the grid of its finest layer."""
        by_grid: dict[Grid, list[Value]] = {}
        for value in self.values:
            by_grid.setdefault(self._finest([value]), []).append(value)
        return [
            Group(values=tuple(values), coverage=coverage.of(self.sources[n] for n in self.names(values)), grid=grid)
            for grid, values in by_grid.items()
        ]

    def names(self, values: Sequence[Value]) -> tuple[str, ...]:
        """The layers that values need, and that of the mask, each once."""
        needed = [name for value in values for name in value.names]
        return tuple(dict.fromkeys([*needed, *([self.mask] if self.mask else [])]))

    def read(
        self, blocks: Blocks, values: Sequence[Value], target: Grid, watch: Stopwatch, *, smooth: bool = False
    ) -> list[Pixels]:
        """Those of layers as they are stored; those of formulas in float64, with NaN."""
        sources = self.looked_at(values, smooth=smooth)
        read = dict(zip(sources, warp.read(blocks, list(sources.values()), target, watch), strict=True))
        with watch.stage("render"):
            return self.measured(values, read)

    def looked_at(self, values: Sequence[Value], *, smooth: bool) -> dict[str, Source]:
        """The layers that values need, and that of the mask, as they are read."""
        return {
            name: self.sources[name] if smooth else replace(self.sources[name], as_they_are=True)
            for name in self.names(values)
        }

    def measured(self, values: Sequence[Value], read: Mapping[str, Pixels]) -> list[Pixels]:
        """Values of layers' pixels, all of one shape, without what the mask leaves out."""
        seen: NDArray[np.bool_] | None = None
        if self.mask is not None:
            seen = render.kept(*read[self.mask], self.keep)
        found: list[Pixels] = []
        for value in values:
            if isinstance(value.of, str):
                numbers, valid = read[value.of]
            else:
                numbers = render.values(value.of, self.sources, read, self.floor)
                valid = np.isfinite(numbers)
            found.append((numbers, valid if seen is None else valid & seen))
        return found

    def nodata(self, value: Value, data_type: np.dtype[Any]) -> float | None:
        """What means no data among a value's numbers of a type; None where nothing does."""
        return held(self.sources[value.of].nodata if isinstance(value.of, str) else None, data_type)

    def packing(self, value: Value) -> tuple[float, float]:
        """Those of the layer; none of a formula."""
        if not isinstance(value.of, str):
            return 1.0, 0.0
        return self.sources[value.of].scale, self.sources[value.of].offset

    def physical(self, value: Value, numbers: NDArray[Any]) -> NDArray[np.float64]:
        """A value's numbers as what they measure."""
        if isinstance(value.of, str):
            source = self.sources[value.of]
            return render.physical(numbers, np.ones(numbers.shape, np.bool_), source)
        return np.asarray(numbers, np.float64)


def of_item(item: Mapping[str, Any], style: Style, names: Sequence[str] = ()) -> Numbers:
    """The numbers of an item that a style is made of; `names` are what its values are called.

    Raises BadRequest where they are too many, and NotFound where a layer is not there, or is described in a way that
    we don't know: any sensor may have made it.
    """
    needed = {name for name in style.names if name != style.mask}
    if max(len(needed), len(style.values)) > MAX_BANDS:
        raise BadRequest(f"{max(len(needed), len(style.values))} layers or values; at most {MAX_BANDS} at a time")
    try:
        return _of_assets(item["assets"], style, names)
    except KeyError as error:
        reason = f"no {error.args[0]!r}"
    except (TypeError, ValueError, IndexError, AttributeError, ProjError) as error:
        reason = str(error)
    raise NotFound(f"item {item['id']!r} has no such numbers: {reason}")


def _of_assets(assets: Mapping[str, Any], style: Style, names: Sequence[str]) -> Numbers:
    sources = layers.find(assets, style.names)
    files = {str(asset.get("href")).removeprefix(MARKER): asset for asset in assets.values()}
    values: list[Value] = []
    for number, of in enumerate(style.values):
        name = names[number] if number < len(names) else of if isinstance(of, str) else of.text
        if isinstance(of, Formula):
            values.append(Value(name=name, of=of))
            continue
        asset = files[sources[of].key]
        if (count := layers.count(asset)) == 1:
            values.append(_layer(name, of, asset, sources[of].band))
            continue
        # A file of several bands, such as a picture that the agency made: each of them.
        for band in range(count):
            sources[part := f"{of}/{band + 1}"] = layers.source(asset, band)
            values.append(_layer(part, part, asset, band))
    return Numbers(
        values=tuple(values), sources=sources, floor=style.floor, mask=style.mask, keep=style.keep
    )  # fmt: skip


def _layer(name: str, of: str, asset: Mapping[str, Any], band: int) -> Value:
    """A layer as its asset tells of it."""
    facts = {**asset, **(asset["bands"][band] if asset.get("bands") else {})}
    classes = facts.get("classification:classes") or ()
    return Value(
        name=name,
        of=of,
        unit=facts.get("unit"),
        description=facts.get("description") or asset.get("title"),
        classes=tuple((int(one["value"]), str(one.get("name", one["value"]))) for one in classes),
    )
