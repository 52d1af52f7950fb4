"""Public addresses of our files: what their hrefs at rest become on the way out, and become again on the way in."""

from __future__ import annotations

from dataclasses import dataclass, field

from kartotek.settings import Settings
from kartotek.storage import MARKER, PRODUCTS

_FILES = f'"href":"{MARKER}'.encode()
_PRODUCTS = f'"href":"{PRODUCTS}'.encode()


@dataclass(frozen=True, slots=True, kw_only=True)
class Addresses:
    """Where the public finds what we hold; each without a slash at its end."""

    root: str
    """Of all links."""
    files: str
    """Of files in the storage."""
    _files: bytes = field(init=False, repr=False)
    _products: bytes = field(init=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_files", f'"href":"{self.files}/'.encode())
        object.__setattr__(self, "_products", f'"href":"{self.root}/products/'.encode())

    @classmethod
    def of(cls, settings: Settings) -> Addresses:
        """Those that the settings say."""
        return cls(root=settings.root, files=settings.files_root)

    def outward(self, content: bytes) -> bytes:
        """Stored JSON with the public addresses of files, which nobody parses for it.

        >>> Addresses(root="https://a.se", files="https://a.se/files").outward(b'{"href":"storage:///c/i/B02.tif"}')
        b'{"href":"https://a.se/files/c/i/B02.tif"}'
        """
        return content.replace(_FILES, self._files).replace(_PRODUCTS, self._products)

    def inward(self, href: str, collection: str, item: str) -> str:
        """An href of an item: as it is at rest where the file is the item's own, else as it is.

        >>> Addresses(root="https://a.se", files="https://a.se/files").inward("https://a.se/products/c/i.zip", "c", "i")
        'product:///c/i.zip'
        """
        if href.startswith(f"{self.files}/{collection}/{item}/"):
            return MARKER + href.removeprefix(f"{self.files}/")
        if href == f"{self.root}/products/{collection}/{item}.zip":
            return f"{PRODUCTS}{collection}/{item}.zip"
        return href
