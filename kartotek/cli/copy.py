"""`kartotek copy`: a catalog into another database, of either kind."""

from __future__ import annotations

from collections import defaultdict
from contextlib import closing

import click
import orjson

from catalog import questions
from catalog.access import OPERATOR
from catalog.loading import Loaded
from catalog.store import Catalog
from jobs import copy as copying
from jobs.copy import Compared
from kartotek.cli import bars, options


@click.command(
    epilog="""\b
Examples:
  kartotek copy sqlite:///kartotek.db postgresql://kartotek@db.example.se/kartotek
  kartotek copy sqlite:///kartotek.db sqlite:///copy.db --collections sentinel-2-l2a"""
)
@click.argument("source_url")
@click.argument("target_url")
@options.collections
@options.json_option("Print one JSON object a collection, and one at the end.")
@click.pass_context
def copy(context: click.Context, source_url: str, target_url: str, collections: str | None, as_json: bool) -> None:
    """Copy a catalog into another database: collections, items, index squares, the ledger.

    What TARGET has of the same is replaced where it differs, what is TARGET's alone stays. Ended anywhere, the same
    command goes on from there. At the end both are read again and compared; the command ends with exit status 1 where a
    collection differs. Files stay where they are.
    """
    wanted = questions.names("collections", collections.split(",") if collections else None)
    patience = options.PATIENCE_MS
    with (
        closing(Catalog(source_url, milliseconds=patience)) as source,
        closing(Catalog(target_url, milliseconds=patience)) as target,
    ):
        source.check()
        copying.check(source, target)
        names, loaded = copying.collections(source, wanted), defaultdict[str, Loaded](Loaded)
        target.ready()
        total = sum(one.count for one in source.summaries(OPERATOR, names).values())
        with bars.bar(quiet=as_json) as bar:
            task = bar.add_task("copied", total=total)
            for one in copying.copy(source, target, names):
                loaded[one.collection] += one.items
                bar.advance(task, one.items.count)
            batches = list(copying.copy_products(source, target, None if wanted is None else names))
            task = bar.add_task("compared", total=2 * total)  # each side is read
            found = list(copying.compared(source, target, names, seen=lambda count: bar.advance(task, count)))
    products, written = sum(one.products for one in batches), sum(one.written for one in batches)
    for both in found:
        _tell(both, loaded[both.collection], as_json=as_json)
    differing = [both.collection for both in found if both.differs]
    if as_json:
        end = {"collections": len(found), "products": products, "written": written, "differing": differing}
        click.echo(orjson.dumps(end).decode())
    else:
        click.echo(f"ledger: {products} products, {written} written")
    if differing:
        context.exit(1)


def _tell(both: Compared, loaded: Loaded, *, as_json: bool) -> None:
    name, source, target = both.collection, both.source, both.target
    if as_json:
        told = {
            "collection": name, "items": target.items, "squares": target.squares, "added": loaded.added,
            "replaced": loaded.replaced, "unchanged": loaded.unchanged, "differs": both.differs,
        }  # fmt: skip
        click.echo(orjson.dumps(told).decode())
        return
    if not both.differs:
        click.echo(
            f"{name}: {loaded.added} added, {loaded.replaced} replaced, {loaded.unchanged} unchanged; "
            f"{target.items} items and {target.squares} squares, the same on both sides"
        )
        return
    differences = [_difference(word, both) for word in both.differs]
    click.echo(f"Error: {name}: SOURCE and TARGET differ: {', '.join(differences)}", err=True)
    if target.private and not source.private:
        click.echo(f"{name} stays hidden in TARGET; `kartotek collection {name} --public` shows it there", err=True)


def _difference(word: str, both: Compared) -> str:
    match word:
        case "items" | "squares":
            return f"{getattr(both.source, word)} and {getattr(both.target, word)} {word}"
        case "private":
            return "public and private" if both.target.private else "private and public"
        case "description":
            return "the collection's own JSON"
    return "what stands in the items"
