"""Addresses of our files: what their hrefs at rest become on the way out, and become again on the way in."""

from __future__ import annotations

from dataclasses import dataclass, field

from kartotek.settings import Settings
from kartotek.storage import MARKER, PRODUCTS

_HREF = b'"href":"'
# JSON has no such bytes but escaped, and to look for one of them takes a tenth of what it takes for a word.
_FILES, _PRODUCTS = b"\x01", b"\x02"


@dataclass(frozen=True, slots=True, kw_only=True)
class Addresses:
    """What addresses of that which we hold start with."""

    files: str
    """Those of files in the storage."""
    products: str
    """Those of products that are registered."""
    _files: bytes = field(init=False, repr=False)
    _products: bytes = field(init=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_files", _HREF + self.files.encode())
        object.__setattr__(self, "_products", _HREF + self.products.encode())

    @classmethod
    def of(cls, settings: Settings) -> Addresses:
        """The public ones, as the settings say."""
        return cls(files=f"{settings.files_root}/", products=f"{settings.root}/products/")

    def outward(self, content: bytes) -> bytes:
        """JSON at rest with these addresses; nobody parses it for that.

        >>> public = Addresses(files="https://a.se/files/", products="https://a.se/products/")
        >>> public.outward(b'{"href":"storage:///c/i/B02.tif"}')
        b'{"href":"https://a.se/files/c/i/B02.tif"}'
        """
        return self.long(AT_REST.short(content))

    def short(self, content: bytes) -> bytes:
        """JSON with one byte for each of these addresses, which is no JSON any more.

        >>> AT_REST.short(b'{"href":"storage:///c/i/B02.tif"}')
        b'{\\x01c/i/B02.tif"}'
        """
        return content.replace(self._files, _FILES).replace(self._products, _PRODUCTS)

    def long(self, short: bytes) -> bytes:
        """JSON with these addresses, of what `short` gave."""
        return short.replace(_FILES, self._files).replace(_PRODUCTS, self._products)

    def are_public(self, href: str) -> bool:
        """Whether an href starts with one of these addresses."""
        return href.startswith((self.files, self.products))

    def inward(self, href: str, collection: str, item: str) -> str:
        """An href of an item: as it is at rest where the file is the item's own, else as it is.

        >>> public = Addresses(files="https://a.se/files/", products="https://a.se/products/")
        >>> public.inward("https://a.se/products/c/i.zip", "c", "i")
        'product:///c/i.zip'
        """
        if href.startswith(f"{self.files}{collection}/{item}/"):
            return MARKER + href.removeprefix(self.files)
        if href == f"{self.products}{collection}/{item}.zip":
            return f"{PRODUCTS}{collection}/{item}.zip"
        return href


AT_REST = Addresses(files=MARKER, products=PRODUCTS)
"""Those of JSON as it is stored."""
