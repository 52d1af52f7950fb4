"""STAC items in a database: bytes in, bytes out."""
