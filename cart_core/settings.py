"""Every setting in one place: its name, type, default and meaning, and where its value comes from.

A value given on the command line wins over the environment, and that over the default. Where the parts of a store lie
is said by the file ``store.toml`` in its folder or by the environment; one that contradicts the file is refused, as it
would write a shop's events to two places. Nothing here is read when a module is imported.
"""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypedDict

from cart_core.errors import Refused

FILE = "store.toml"
PREFIX = "CART_"
HIDDEN = "***"
DEFAULT_STORE = "data/store"
LOGIN = re.compile(r"(://[^:/?#@]*:)[^/?#]*@")
PASSWORD = re.compile(r"(?i)((?:password|passwd|secret|token)=)[^&\s]+")
UNITS = {"": 1, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30, "TiB": 2**40}
SIZE = re.compile(r"(?P<number>\d+)\s?(?P<unit>|KiB|MiB|GiB|TiB)")
Source = Literal["default", "settings file", "environment", "option"]


class Parts(TypedDict):
    """Where the parts of a store lie that are not in its folder, as CartStore.open takes them."""

    catalog: str | None
    segments: str | None


@dataclass(frozen=True, slots=True)
class Setting:
    """One setting; ``read`` makes its value of text and raises ValueError with the rule that was broken."""

    name: str
    variable: str
    meaning: str
    default: str | None = None
    read: Callable[[str], Any] = str
    show: Callable[[str], str] = str
    in_file: bool = False


@dataclass(frozen=True, slots=True)
class Known:
    """A setting with its value, and where that came from."""

    setting: Setting
    value: Any
    text: str | None
    source: Source

    @property
    def shown(self) -> str | None:
        """The value as it may be shown to anybody: passwords and secrets are hidden."""
        return None if self.text is None else self.setting.show(self.text)


def size_bytes(text: str) -> int:
    """A size such as ``20GiB`` or ``1048576``. Raises ValueError."""
    found = SIZE.fullmatch(text.strip())
    if found is None:
        raise ValueError("a number of bytes, KiB, MiB, GiB or TiB, such as 20GiB")
    return int(found["number"]) * UNITS[found["unit"]]


def log_form(text: str) -> str:
    """How logs are written. Raises ValueError."""
    if text not in ("text", "json"):
        raise ValueError("text or json")
    return text


def without_password(url: str) -> str:
    """A URL whose password, in its usual place or as an option, is hidden."""
    return PASSWORD.sub(rf"\1{HIDDEN}", LOGIN.sub(rf"\1{HIDDEN}@", url))


def hidden(_: str) -> str:
    """Nothing of a secret."""
    return HIDDEN


SETTINGS = (
    Setting("store", "CART_STORE", "the store's folder", DEFAULT_STORE, Path),
    Setting(
        "catalog",
        "CART_CATALOG",
        "the catalog in PostgreSQL; not set: a SQLite file in the folder",
        show=without_password,
        in_file=True,
    ),
    Setting(
        "segments",
        "CART_SEGMENTS",
        "where segments lie, a folder or s3://bucket/prefix; not set: in the store's folder",
        show=without_password,
        in_file=True,
    ),
    Setting(
        "segment_cache",
        "CART_SEGMENT_CACHE",
        "room on this disk for copies of segments that lie on an object store",
        "20GiB",
        size_bytes,
    ),
    Setting("log", "CART_LOG", "how errors and logs are written, text or json", "text", log_form),
    Setting("prices", "CART_PRICES", "the catalogue that shoppers' prices must agree with", read=Path),
    Setting("jwt_issuer", "CART_JWT_ISSUER", "the issuer that tokens of the API must name"),
    Setting("jwt_audience", "CART_JWT_AUDIENCE", "the audience that tokens of the API must name"),
    Setting("jwt_algorithm", "CART_JWT_ALGORITHM", "the algorithm of tokens signed with a private key"),
    Setting("jwt_secret", "CART_JWT_SECRET", "the secret of HS256 tokens", show=hidden),
    Setting(
        "jwt_jwks", "CART_JWT_JWKS", "a file or https URL with the public keys of the issuer", show=without_password
    ),
    Setting("token", "CART_TOKEN", "the token that commands send to a server", show=hidden),
    Setting("experiments", "CART_EXPERIMENTS", "the file of declared experiments", read=Path),
    Setting("alert_url", "CART_ALERT_URL", "where failures of nightly runs are posted", show=hidden),
    Setting("trace_to", "OTEL_EXPORTER_OTLP_ENDPOINT", "where traces are sent; not set: none are made"),
)
IN_FILE = tuple(each.name for each in SETTINGS if each.in_file)
INTERNAL = ("CART_API_SETTINGS",)


def known(
    folder: Path | None = None,
    environment: Mapping[str, str] = os.environ,
    given: Mapping[str, str | None] | None = None,
) -> dict[str, Known]:
    """Every setting by its name, for the store in ``folder``; ``given`` are options of the command line.

    Raises Refused (bad_settings) naming the setting, its value, where that came from, and the rule it breaks.
    """
    options = {name: value for name, value in (given or {}).items() if value is not None}
    home = folder or Path(options.get("store") or environment.get("CART_STORE") or DEFAULT_STORE)
    said = read_file(home)
    for each in SETTINGS:
        if each.in_file:
            check_agrees(home, said, each.name, options.get(each.name) or environment.get(each.variable) or None)
    return {each.name: _known(each, options, environment, said) for each in SETTINGS}


def check_agrees(folder: Path, said: Mapping[str, str], name: str, given: str | None) -> None:
    """Raise Refused (bad_settings) where what was given contradicts what the settings file of a folder said."""
    if given is not None and said.get(name, given) != given:
        here, there = without_password(given), without_password(said[name])
        raise Refused("bad_settings", f"{name} is {here!r}, but {folder}/{FILE} says {there!r}")


def parts(environment: Mapping[str, str] = os.environ) -> Parts:
    """Where the environment says that the catalog and the segments of the store lie."""
    return {
        "catalog": environment.get("CART_CATALOG") or None,
        "segments": environment.get("CART_SEGMENTS") or None,
    }


def unknown(environment: Mapping[str, str] = os.environ) -> list[str]:
    """Variables that look like settings and are none, as a mistyped one is."""
    names = {each.variable for each in SETTINGS} | set(INTERNAL)
    return sorted(name for name in environment if name.startswith(PREFIX) and name not in names)


def table() -> str:
    """The settings as a table in Markdown, for docs/settings.md."""
    rows = [
        f"| `{each.variable}` | {each.meaning} | {f'`{each.default}`' if each.default else ''} | "
        f"{f'`{each.name}`' if each.in_file else ''} |"
        for each in SETTINGS
    ]
    return "\n".join(["| variable | meaning | default | in store.toml |", "|---|---|---|---|", *rows])


def read_file(folder: Path) -> dict[str, str]:
    """What the settings file of a store's folder says; nothing where there is none. Raises Refused (bad_settings).

    A folder for segments is one beside the file where it is not absolute.
    """
    place = folder / FILE
    if not place.is_file():
        return {}
    try:
        said = tomllib.loads(place.read_text("utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise Refused("bad_settings", f"{place} cannot be read: {error}") from error
    for name, value in said.items():
        if name not in IN_FILE or not isinstance(value, str):
            allowed = ", ".join(IN_FILE)
            raise Refused("bad_settings", f"{place}: {name} = {value!r}, but it may say {allowed} as text only")
    if "segments" in said and "://" not in said["segments"]:
        said["segments"] = str((folder / said["segments"]).absolute())
    return said


def _known(
    setting: Setting, options: Mapping[str, str], environment: Mapping[str, str], said: Mapping[str, str]
) -> Known:
    places: tuple[tuple[Source, str | None], ...] = (
        ("option", options.get(setting.name)),
        ("environment", environment.get(setting.variable) or None),
        ("settings file", said.get(setting.name)),
        ("default", setting.default),
    )
    source, text = next((each for each in places if each[1] is not None), ("default", None))
    if text is None:
        return Known(setting, None, None, source)
    try:
        return Known(setting, setting.read(text), text, source)
    except ValueError as error:
        raise Refused(
            "bad_settings", f"{setting.variable} ({source}) is {setting.show(text)!r}, but must be {error}"
        ) from error
