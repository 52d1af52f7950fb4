"""The settings, from the environment (KARTOTEK_*), made by the caller and passed in."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal, TypeVar

from pydantic import BeforeValidator, Field, Json, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from kartotek.errors import BadSettings


class LogSettings(BaseSettings):
    """What logging needs to know: all that is asked of the environment before a command's own options are read."""

    model_config = SettingsConfigDict(env_prefix="KARTOTEK_", env_ignore_empty=True, extra="ignore", frozen=True)

    log_level: Annotated[Literal["debug", "info", "warning", "error"], BeforeValidator(str.lower)] = "info"
    """From which level on lines are written to standard error."""
    log_format: Annotated[Literal["text", "json"], BeforeValidator(str.lower)] = "text"
    """Whether they are text or JSON."""


class Settings(LogSettings):
    """What the command line and the server need to know of where they run."""

    database: str = "sqlite:///kartotek.db"
    """URL of the catalog: sqlite:///FILE, or postgresql://USER:PASSWORD@HOST/NAME with PostGIS."""
    storage: str = "kartotek-store"
    """Where the files lie: a folder, or s3://BUCKET/PREFIX, whose endpoint and credentials the AWS_* variables name."""
    url: str | None = None
    """Public root of all links; unset: the address that `serve` listens on. Never taken from the Host header."""
    files_url: str | None = None
    """Public root of files; unset: `url` + /files."""
    files: Literal["stream", "redirect"] = "stream"
    """Whether /files gives the bytes itself, or sends clients on to a signed address of the bucket."""
    files_endpoint: Annotated[str, Field(pattern=r"^https?://[^/@\s?#]+(/[^@\s?#]*)?$")] | None = None
    """Endpoint of the bucket as clients reach it, for signed addresses; unset: the one in AWS_ENDPOINT_URL."""
    host: str = "127.0.0.1"
    """Address that `serve` listens on."""
    port: int = Field(default=8000, ge=0, le=65535)
    """Port that `serve` listens on; 0 lets the system choose."""
    title: str = "kartotek"
    """Title of the landing page."""
    cache_mb: int = Field(default=256, ge=16)
    """Memory for decoded blocks of COGs, in MB."""
    max_body: int = Field(default=1 << 20, ge=1024)
    """Bytes of a request's body; larger ones are answered 413."""
    max_stream: int = Field(default=100_000, ge=1)
    """Items of one answer that streams them, as NDJSON, CSV or stac-geoparquet."""
    mosaics: int = Field(default=10_000, ge=0)
    """Searches that may be registered as mosaics, by anybody, of 16 KiB at most; 0: none."""
    mosaic_items: int = Field(default=64, ge=1, le=1_000)
    """Items that one tile of a mosaic opens at most; a median 32 of them at most."""
    tile_matrix_sets: Json[list[str]] = Field(default_factory=list, validate_default=False)
    """Tile matrix sets that are served besides the usual three, as JSON: ids that morecantile knows, or FILE.json."""
    statement_seconds: float = Field(default=8.0, gt=0)
    """How long the database works at one question of `serve`."""
    costly: int = Field(default=8, ge=1)
    """Searches and sums that `serve` works at at a time; who waits for a second is told to come again."""
    heavy: int | None = Field(default=None, ge=1)
    """Crops and statistics that `serve` works at at a time, each of up to 256 MB. Unless it is set there are as many as
    processors, 2 to 8; 4 to 8 where files lie in a bucket."""
    profile: Literal["standard", "compact"] = "standard"
    """How blocks of COGs are packed: by DEFLATE, or in fewer bytes and more time by LZMA."""
    bands: Json[dict[str, Annotated[list[str], Field(min_length=1)]]] = Field(
        default_factory=dict, validate_default=False
    )
    """Collection → the layers that are kept of it, as JSON; of one that isn't named, all are."""
    conversion_mb: int = Field(default=4096, ge=512)
    """Memory that the conversion of one product may ask for, in MB."""
    conversion_seconds: int = Field(default=3600, ge=1)
    """How long the conversion of one product may take."""
    schemas: Path | None = None
    """Folder with the JSON schemas of STAC extensions, each under its address without https://; unset: none at hand."""
    transactions: bool = False
    """Whether `serve` lets anyone who reaches it enter, change and remove items and collections."""
    metrics: bool = False
    """Whether `serve` answers /metrics, which tells outsiders how much there is of private collections too."""
    stop_seconds: int = Field(default=30, ge=0)
    """How long `serve` goes on answering what it has in hand once it is asked to stop."""

    @property
    def root(self) -> str:
        """The public root of all links, without a slash at its end."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return (self.url or f"http://{host}:{self.port}").rstrip("/")

    @property
    def files_root(self) -> str:
        """The public root of files, without a slash at its end."""
        return (self.files_url or f"{self.root}/files").rstrip("/")


Kind = TypeVar("Kind", bound=LogSettings)


def load(**given: object) -> Settings:
    """The settings of this process: what is given here before the environment.

    Raises BadSettings with the name of the setting and what would do.
    """
    return _made(Settings, given)


def for_logs(**given: object) -> LogSettings:
    """Those of logging alone, likewise."""
    return _made(LogSettings, given)


def _made(kind: type[Kind], given: dict[str, object]) -> Kind:
    try:
        return kind(**{name: value for name, value in given.items() if value is not None})  # type: ignore[arg-type]
    except ValidationError as error:
        first = error.errors()[0]
        name = str(first["loc"][0]).upper()
        raise BadSettings(f"KARTOTEK_{name}: {first['msg']} (found {first['input']!r})") from None
