"""Every exception of the workbench.

CartError
├── InvalidEvent (ValueError)         an event or envelope breaks a rule of docs/glossary.md
├── ConcurrencyError (RuntimeError)   the cart is not at the expected version
├── EventIdConflict (ValueError)      an event id is known with other content
├── VersionGap (ValueError)           a batch skips a version of a cart
├── OutOfOrder (ValueError)           events reach a fold in another order than their versions
├── Refused (ValueError)              a command or a time may not be carried out; ``code`` names the refusal
├── SourceError (ValueError)          a file to import is not what it claims to be
└── StoreError (OSError)
    ├── StoreNotFound (FileNotFoundError)
    ├── StoreBusy (TimeoutError)      another writer held the catalog too long
    ├── StoreReadOnly (PermissionError)
    ├── StoreCorrupt                  a file is missing, torn or altered
    ├── StillNamed                    a person was forgotten, but their id stands where it cannot be taken out
    ├── StoreUnreachable (ConnectionError)  a server that keeps a part of the store does not answer
    └── StoreTooNew                   written by a later version of this package
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

SHOWN_CHARS = 80
SHOWN_PROBLEMS = 5


class CartError(Exception):
    """The root of everything this package raises on purpose; it says the same in whichever process it is caught."""

    def __reduce__(self) -> tuple[Any, ...]:
        return _again, (type(self), self.args), self.__dict__


def _again(kind: type[CartError], args: tuple[Any, ...]) -> CartError:
    """An error from its finished message, not from what its class makes messages of."""
    error = kind.__new__(kind, *args)
    error.args = args  # which an OSError with an __init__ of its own leaves to that
    return error


@dataclass(frozen=True, slots=True)
class Problem:
    """One broken rule: which field, what stood there, and what should have."""

    field: str
    value: object
    rule: str

    def __str__(self) -> str:
        return f"{self.field} is {shown(self.value)}, but must be {self.rule}"


class InvalidEvent(CartError, ValueError):
    """An event or envelope breaks one or more rules; ``problems`` lists them all."""

    def __init__(self, problems: list[Problem], row: int | None = None) -> None:
        self.problems = problems
        self.row = row
        place = "" if row is None else f"row {row}: "
        more = len(problems) - SHOWN_PROBLEMS
        told = "; ".join(str(problem) for problem in problems[:SHOWN_PROBLEMS])
        super().__init__(place + told + (f"; and {more} more" if more > 0 else ""))

    @property
    def field(self) -> str:
        """The first broken field."""
        return self.problems[0].field

    @property
    def value(self) -> object:
        """What stood in the first broken field."""
        return self.problems[0].value

    @property
    def rule(self) -> str:
        """The first broken rule."""
        return self.problems[0].rule


class ConcurrencyError(CartError, RuntimeError):
    """Somebody else wrote first: the cart is at ``actual``, not at ``expected``."""

    def __init__(self, cart_id: str, expected: int, actual: int) -> None:
        self.cart_id = cart_id
        self.expected = expected
        self.actual = actual
        super().__init__(
            f"cart {cart_id} is at version {actual}, not at the expected {expected}: "
            "read it again and decide on its new state"
        )


class EventIdConflict(CartError, ValueError):
    """An event id is already in the store with other content."""

    def __init__(self, event_id: str, row: int | None = None) -> None:
        self.event_id = event_id
        self.row = row
        place = "" if row is None else f"row {row}: "
        super().__init__(
            f"{place}eventId is {event_id}, which is known with other content: an id names one event for ever"
        )


class VersionGap(CartError, ValueError):
    """A batch holds a later version of a cart without the one before it."""

    def __init__(self, cart_id: str, missing: int, row: int | None = None) -> None:
        self.cart_id = cart_id
        self.missing = missing
        self.row = row
        place = "" if row is None else f"row {row}: "
        super().__init__(
            f"{place}version {missing} of cart {cart_id} is missing: versions are 1, 2, 3 ... without gaps"
        )


class OutOfOrder(CartError, ValueError):
    """An event reached a fold that is already at or past its version, or is the fold of another cart."""

    def __init__(self, cart_id: str, version: int, reached: int, other: str | None = None) -> None:
        self.cart_id = cart_id
        self.version = version
        self.reached = reached
        where = f"this fold is at version {reached}" if other is None else f"this is the fold of cart {other}"
        super().__init__(
            f"event {version} of cart {cart_id} cannot be applied: {where}; "
            "a fold takes one cart's events in ascending versions, each once"
        )


class Refused(CartError, ValueError):
    """A command is refused by name; nothing was written.

    ``code`` is a stable snake_case word such as ``unknown_product`` that callers may branch on.
    """

    def __init__(self, code: str, message: str, **details: object) -> None:
        self.code = code
        self.details = details
        super().__init__(message)


class SourceError(CartError, ValueError):
    """A file to import cannot be read as the format it was given as."""


class StoreError(CartError, OSError):
    """The store cannot do what was asked, for a reason outside the events themselves."""


class StoreNotFound(StoreError, FileNotFoundError):
    """There is no store at this place."""


class StoreBusy(StoreError, TimeoutError):
    """Another writer held the catalog for longer than the timeout."""


class StoreReadOnly(StoreError, PermissionError):
    """The store's files may not be written by this user."""


class StoreCorrupt(StoreError):
    """A file that the catalog names is missing, torn or altered."""


class StoreUnreachable(StoreError, ConnectionError):
    """A server that keeps a part of the store does not answer; what was acknowledged is safe there."""


class StillNamed(StoreError):
    """A person was forgotten, but their id stands where it cannot be taken out: in events, or in files.

    ``positions`` are those of events, which never change; ``files`` are of kinds that nobody knows how to clean.
    """

    def __init__(self, positions: list[int], files: list[str]) -> None:
        self.positions = positions
        self.files = files
        places = [f"{len(positions)} events, first at position {positions[0]}"] if positions else []
        told = "; ".join([*places, *files])
        super().__init__(f"the link is erased, but the id stands, or may stand, where it cannot be taken out: {told}")


class StoreTooNew(StoreError):
    """The store was written by a later version of this package."""


def shown(value: object) -> str:
    """A value as an error message shows it: quoted, and cut at 80 characters."""
    text = "missing" if value is None else repr(value)
    return text if len(text) <= SHOWN_CHARS else text[: SHOWN_CHARS - 3] + "..."
