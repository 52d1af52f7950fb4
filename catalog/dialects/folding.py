"""Texts compared without their case or their accents: what databases that can't do it themselves are given."""

from __future__ import annotations

import unicodedata


def casei(text: str) -> str:
    """A text of which upper and lower case are the same (Unicode's full mappings, as ICU's lower(upper())).

    >>> casei("Straße") == casei("STRASSE")
    True
    """
    return text.upper().lower()


def accenti(text: str) -> str:
    """A text without the accents that Unicode takes apart.

    >>> accenti("Älvsbyn")
    'Alvsbyn'
    """
    return "".join(letter for letter in unicodedata.normalize("NFD", text) if not "\u0300" <= letter <= "\u036f")
