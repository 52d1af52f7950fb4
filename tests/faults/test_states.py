"""R1, R10, R11: publishing, registering, crashing, deleting and sweeping in any order, one in the middle of another.

Hypothesis looks for an order after which something visible is not whole, a file in use is gone, or one that nothing
names outlives a sweep.
"""

import contextlib
import dataclasses
import shutil
import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from catalog import documents
from catalog.access import OPERATOR
from catalog.ledger import Source
from catalog.search import Search
from catalog.store import Catalog
from converters import items
from jobs import layout, register
from jobs.publish import publish
from jobs.reading import Metadata
from jobs.rebuild import rebuild
from jobs.sweep import sweep
from jobs.verify import verify
from kartotek.errors import NotFound
from kartotek.storage import FolderStorage

NAMES = ("one", "two")
VERSIONS = range(3)


class Died(BaseException):
    """Stands for the end of a process: nobody catches it."""


class Watched(FolderStorage):
    """A storage in which something happens before the nth call that changes or reads anything."""

    def __init__(self, root):
        super().__init__(root)
        self.left, self.then = 0, None

    def _step(self):
        self.left -= 1
        if self.left == 0:
            self.then()

    def create(self, key, source):
        self._step()
        super().create(key, source)
        self._step()

    def size(self, key):
        self._step()
        return super().size(key)

    def delete(self, key):
        self._step()
        super().delete(key)
        self._step()


def machine(converted, empty):
    """The machine, on one converted product in three versions under two names."""

    class Machine(RuleBasedStateMachine):
        def __init__(self):
            super().__init__()
            self.folder = Path(tempfile.mkdtemp(prefix="kartotek-states-"))
            shutil.copy(empty, self.folder / "catalog.db")
            self.catalog = Catalog(f"sqlite:///{self.folder}/catalog.db")
            self.storage = Watched(self.folder / "store")
            self.expected = {}

        def teardown(self):
            self.catalog.close()
            shutil.rmtree(self.folder)

        def _version(self, name, version):
            item = converted.item.clone()
            item.id, item.properties["eo:cloud_cover"] = name, float(version)
            if version:  # a file that the others don't have; the others are shared
                item.assets["thumbnail"] = item.assets["SCL"].clone()
            if version == 2:
                del item.assets["squares"]
            return dataclasses.replace(converted, item=item)

        def _content(self, name):
            try:
                return self.catalog.item(OPERATOR, converted.collection.id, name)
            except NotFound:
                return None

        @rule(name=st.sampled_from(NAMES), version=st.sampled_from(VERSIONS))
        def publishes(self, name, version):
            publish(self._version(name, version), self.storage, self.catalog)
            self.expected[name] = self._content(name)
            assert self.expected[name] is not None

        @rule(name=st.sampled_from(NAMES), version=st.sampled_from(VERSIONS), step=st.integers(1, 14))
        def dies_while_it_publishes(self, name, version, step):
            before = self._content(name)

            def die():
                raise Died

            self.storage.left, self.storage.then = step, die
            try:
                publish(self._version(name, version), self.storage, self.catalog)
            except Died:
                # Before the commit nothing has changed, after it all has.
                content = self._content(name)
                if content != before:
                    self.expected[name] = content
            else:
                self.expected[name] = self._content(name)
            self.storage.left = 0

        @rule(name=st.sampled_from(NAMES), version=st.sampled_from(VERSIONS), step=st.integers(1, 14))
        def publishes_while_another_sweeps(self, name, version, step):
            self.storage.left = step
            self.storage.then = lambda: list(sweep(FolderStorage(self.storage.root), self.catalog, force=True))
            publish(self._version(name, version), self.storage, self.catalog)
            self.storage.left = 0
            self.expected[name] = self._content(name)

        @rule(name=st.sampled_from(NAMES), version=st.sampled_from(VERSIONS), step=st.integers(1, 16))
        def sweeps_while_another_publishes(self, name, version, step):
            """Beside the item that the sweep has in hand; for that one the other waits."""

            def other():
                held = self.catalog.holds.holders([(converted.collection.id, name)])
                if not held:
                    publish(self._version(name, version), FolderStorage(self.storage.root), self.catalog)
                    self.expected[name] = self._content(name)

            self.storage.left, self.storage.then = step, other
            list(sweep(self.storage, self.catalog, force=True))
            self.storage.left = 0

        @rule(step=st.integers(1, 16))
        def dies_while_it_sweeps(self, step):
            def die():
                raise Died

            self.storage.left, self.storage.then = step, die
            with contextlib.suppress(Died):
                list(sweep(self.storage, self.catalog, force=True))
            self.storage.left = 0

        @rule(name=st.sampled_from(NAMES), step=st.integers(1, 4))
        def registers(self, name, step):
            """Its bands are never lost by it, though it dies on the way."""
            before = self._content(name)

            def die():
                raise Died

            self.storage.left, self.storage.then = step, die
            with contextlib.suppress(Died):
                list(register._visible([self._registered(name)], self.storage, self.catalog))
            self.storage.left = 0
            content = self._content(name)
            if before is not None and documents.CONVERTED in before:
                assert content == before
            elif content is not None:
                self.expected[name] = content
            self.is_rebuilt()

        def _registered(self, name):
            item = converted.item.clone()
            item.id, item.assets = name, {}
            del item.properties["kartotek:recipe"]
            return Metadata(
                source=Source(place=f"/archive/{name}.zip"), item=name, collection=converted.collection.id,
                ground=None, content=documents.stored(items.document(item)),
            )  # fmt: skip

        @rule(name=st.sampled_from(NAMES))
        def deletes(self, name):
            if self.expected.pop(name, None) is not None:
                self.catalog.delete_item(converted.collection.id, name)

        @rule()
        def is_rebuilt(self):
            """With all that crashes have left there: no item without its bands, and none that is not whole."""
            shutil.copy(empty, self.folder / "again.db")
            catalog = Catalog(f"sqlite:///{self.folder}/again.db")
            assert all(found.entered for found in rebuild(self.storage, catalog))
            found = {key.id: content for key, content in catalog.walk(OPERATOR, Search())}
            for name, content in self.expected.items():
                assert documents.CONVERTED not in content or documents.CONVERTED in found[name]
            assert not any(one.damaged for one in verify(self.storage, catalog, Search(), workers=1))
            catalog.close()

        @rule()
        def sweeps(self):
            list(sweep(self.storage, self.catalog, force=True))
            named = {
                key
                for name, content in self.expected.items()
                for key in layout.named(converted.collection.id, name, content)
            }
            assert {key for key in self.storage.keys() if layout.of_key(key)} == named  # noqa: SIM118  no dict
            again = self.folder / "again.db"
            shutil.copy(empty, again)
            catalog = Catalog(f"sqlite:///{again}")
            assert all(found.entered for found in rebuild(self.storage, catalog))
            assert {key.id: content for key, content in catalog.walk(OPERATOR, Search())} == self.expected
            catalog.close()

        @invariant()
        def what_is_visible_is_whole_and_what_is_expected(self):
            found = {key.id: content for key, content in self.catalog.walk(OPERATOR, Search())}
            assert found == self.expected
            assert not any(one.damaged for one in verify(self.storage, self.catalog, Search(), workers=1))

    return Machine


@pytest.fixture
def states(converted, make_database):
    return machine(converted, make_database("sqlite", migrated=True).removeprefix("sqlite:///"))


@pytest.mark.parametrize("step", range(1, 16))
def test_a_sweep_that_dies_leaves_no_json_whose_files_it_has_removed(states, step):
    """Of an item that was deleted, or of a version that never became visible beside one that is."""
    state = states()
    state.publishes(name="one", version=0)
    state.deletes(name="one")
    state.publishes(name="two", version=0)
    state.dies_while_it_publishes(name="two", version=1, step=13)
    assert sum(layout.of_key(key).is_json for key in state.storage.keys("sentinel-2-l2a/two/")) == 2
    state.dies_while_it_sweeps(step=step)
    state.what_is_visible_is_whole_and_what_is_expected()
    state.is_rebuilt()
    state.teardown()


@pytest.mark.parametrize("examples", [12, pytest.param(400, marks=pytest.mark.full)])
def test_whatever_happens_in_whatever_order_what_is_visible_is_whole(states, examples):
    run_state_machine_as_test(
        states,
        settings=settings(
            max_examples=examples, stateful_step_count=12, deadline=None, derandomize=examples < 100, database=None,
            suppress_health_check=list(HealthCheck),
        ),
    )  # fmt: skip
