"""Every error that kartotek raises on purpose.

KartotekError
├── ProductError            a product can't be converted; the message names it, and the file
│   ├── MissingProduct      not where it was found any more
│   ├── UnknownProduct      no sensor recognises it
│   ├── UnsupportedProduct  recognised, but of a kind that we don't convert
│   ├── BrokenProduct       a file is missing, unreadable or contradicts the others
│   ├── HostileProduct      an archive or a document made to do harm
│   ├── TooCostly           needs more memory or time than it is given
│   └── OutsideGrid         not where the national grid applies
├── BadFile                 a file made by us fails its own check; never published
├── StorageError            the storage can't be read or written
│   ├── NotStored           nothing lies under that key
│   └── Corrupted           what lies there is not what was written
├── CatalogError            the database can't be used
│   └── NotMigrated         its tables are not of this version
├── OriginError             another catalogue can't be read
├── TargetError             what is exported can't be written
├── TookTooLong             a question that the database was not through with in its time
├── ClusterError            the Dask cluster can't be used
│   └── LostTask            its worker or its scheduler is gone
├── LostLease               what a worker has in hand is another's now
├── Busy                    an item's files are in somebody else's hands
├── NotFound                no such collection, item, file or tile, for this reader
├── Conflict                what is there already, or is not the caller's to change
├── Outdated                what is to be changed is not any more as the caller has seen it
├── BadRequest              a search or a parameter that can't be answered as it stands
└── BadSettings             a setting that can't work
"""

from __future__ import annotations


def in_a_line(error: Exception) -> str:
    r"""An error that is not ours, for a message of ours.

    >>> in_a_line(ValueError("one\n  two"))
    'ValueError: one two'
    """
    return " ".join(f"{type(error).__name__}: {error}".split())


class KartotekError(Exception):
    """The root: catch it to catch everything that kartotek raises on purpose."""


class ProductError(KartotekError):
    """A product that can't be converted."""


class MissingProduct(ProductError):
    """A product that is not where it was found any more."""


class UnknownProduct(ProductError):
    """A path that no sensor recognises."""


class UnsupportedProduct(ProductError):
    """A product that a sensor recognises, of a kind that it doesn't convert."""


class BrokenProduct(ProductError):
    """A product with a file missing, unreadable, or at odds with its metadata."""


class HostileProduct(ProductError):
    """A product whose archive or metadata would do harm if it were unpacked or parsed."""


class TooCostly(ProductError):
    """A product that needs more memory or time than its conversion is given."""


class OutsideGrid(ProductError):
    """A product that does not meet the area of use of the national grid."""


class BadFile(KartotekError):
    """A file written by kartotek that fails its own check."""


class StorageError(KartotekError):
    """A storage that can't be read or written."""


class NotStored(StorageError):
    """A key under which nothing lies."""


class Corrupted(StorageError):
    """A stored object whose bytes are not those that were written."""


class CatalogError(KartotekError):
    """A catalog database that can't be used."""


class NotMigrated(CatalogError):
    """A database whose tables are missing or of another version."""


class TookTooLong(KartotekError):
    """A question to the database that takes longer than one is given."""


class OriginError(KartotekError):
    """A catalogue of somebody else's that can't be read."""


class TargetError(KartotekError):
    """A file or a folder that an export can't be written to."""


class ClusterError(KartotekError):
    """A Dask cluster that can't be used."""


class LostTask(ClusterError):
    """A task whose worker, or the scheduler that knew of it, is gone."""


class LostLease(KartotekError):
    """What somebody had in hand whose lease ran out meanwhile; what was made of it is not published."""


class Busy(KartotekError):
    """An item whose files somebody else publishes or sweeps."""


class NotFound(KartotekError):
    """No such collection, item, file or tile, as far as this reader may know."""


class Conflict(KartotekError):
    """An item or a collection that is there already, or that is not the caller's to change."""


class Outdated(KartotekError):
    """An item or a collection that is not any more as whoever changes it has seen it."""


class BadRequest(KartotekError):
    """A search or a parameter that can't be answered as it stands."""


class BadSettings(KartotekError):
    """A setting that can't work."""
