"""What is true about a simulated shop, so that every figure derived from it can be checked."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any


@dataclass(frozen=True, slots=True)
class Effect:
    """The expected outcome per exposed user under either variant, over the users of this very shop."""

    control: float
    treatment: float

    @property
    def absolute(self) -> float:
        """Treatment less control."""
        return self.treatment - self.control

    @property
    def relative(self) -> float:
        """Treatment over control, less 1; 0 where control is 0."""
        return self.absolute / self.control if self.control else 0.0

    def to_json(self) -> dict[str, float]:
        """The two values and their differences."""
        return {
            "control": self.control,
            "treatment": self.treatment,
            "absolute": self.absolute,
            "relative": self.relative,
        }


@dataclass(frozen=True, slots=True)
class Truth:
    """The summary that stands in truth.json; ``to_json`` is its document.

    ``effects`` holds, per metric (``conversion``, ``revenue_cents``), the true effect of the tested experiment on
    what users do from their first exposure to ``window_days`` later, users seen in both variants left out.
    ``episodes`` counts true silences by ``stage/outcome`` as of ``end``. ``overcharged`` lists carts that were
    charged another total than the projected one.
    """

    parameters: dict[str, Any]
    start: str
    end: str
    counts: dict[str, int]
    effects: dict[str, Effect]
    exposed_users: int
    mixed_users: int
    episodes: dict[str, int]
    overcharged: list[dict[str, Any]] = field(default_factory=list)

    def to_json(self) -> dict[str, Any]:
        """The document of truth.json."""
        shown = asdict(self)
        shown["effects"] = {name: effect.to_json() for name, effect in self.effects.items()}
        return shown

    def write(self, path: Path) -> None:
        """Write truth.json."""
        path.write_text(json.dumps(self.to_json(), indent=2, sort_keys=True) + "\n", encoding="utf-8")
