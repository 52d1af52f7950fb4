"""`kartotek sensors`: what products can be converted, and to what."""

from __future__ import annotations

from typing import Any

import click
import orjson

from converters.sensors import found
from kartotek import nodata
from kartotek.cli import options
from kartotek.product import CollectionType, LayerType


@click.command(
    epilog="""\b
Examples:
  kartotek sensors
  kartotek sensors --json | jq -r '.sensors[].collections[].id'"""
)
@options.json_option("Print one JSON object.")
@click.pass_context
def sensors(context: click.Context, as_json: bool) -> None:
    """List the sensors whose products are converted, with their collections and layers.

    Those of installed packages are found by the entry point `kartotek.sensors`. One that can't be loaded is named with
    the reason, and the command ends with exit status 1.
    """
    loaded, unloaded = found()
    if as_json:
        told = [{"name": sensor.name, "collections": [*map(_as_json, sensor.collections)]} for sensor in loaded]
        click.echo(orjson.dumps({"sensors": told, "unloaded": unloaded}).decode())
    else:
        for sensor in loaded:
            click.echo(sensor.name)
            for kind in sensor.collections:
                _tell(kind)
        for point in unloaded:
            click.echo(f"Error: {point.name} ({point.value}) can't be loaded: {point.reason}", err=True)
    if unloaded:
        context.exit(1)


def _tell(kind: CollectionType) -> None:
    """A collection and the table of its layers."""
    click.echo(f"  {kind.id}: {kind.title}")
    width = max(len(layer.name) for layer in kind.layers)
    for layer in kind.layers:
        mask = ", mask" if layer.name == kind.mask else ""
        click.echo(
            f"    {layer.name:{width}}  {layer.resolution:3} m  {layer.data_type:7}  nodata {layer.nodata:<6g}  "
            f"{layer.kind + mask:13}  {', '.join(_common_names(layer)):10}  {layer.title}".rstrip()
        )


def _as_json(kind: CollectionType) -> dict[str, Any]:
    layers = [
        {
            "name": layer.name,
            "title": layer.title,
            "kind": layer.kind,
            "resolution": layer.resolution,
            "data_type": layer.data_type,
            "nodata": nodata.written(layer.nodata),
            "unit": layer.unit,
            "common_names": _common_names(layer),
        }
        for layer in kind.layers
    ]
    return {"id": kind.id, "title": kind.title, "mask": kind.mask, "renders": list(kind.renders), "layers": layers}


def _common_names(layer: LayerType) -> list[str]:
    return [band.common_name for band in layer.bands if band.common_name]
