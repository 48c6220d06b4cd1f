"""How the shop is compiled: small functions all together, into the one that Python calls."""

from __future__ import annotations

from hashlib import sha256
from pathlib import Path
from typing import Any, cast

import numpy as np
from numba import njit

from cart_core.compiling import Function, compile_loop


def inner(function: Function) -> Function:
    """Compile a function that only compiled functions call; without a door to Python that takes half the time."""
    options: dict[str, Any] = {"no_cpython_wrapper": True, "no_cfunc_wrapper": True}
    return cast(Function, cast(Any, njit)(**options)(function))


def entry(function: Function) -> Function:
    """Compile the function that Python calls, once per state of this package's sources, and keep the result.

    It lets other threads run meanwhile.
    """
    compiled: Any = compile_loop(function)
    kept = getattr(compiled._cache, "_cache_file", None)  # noqa: SLF001 - there is no public way
    if kept is not None:
        # numba renews its cache when the function's own file changes; what it calls stands in other files.
        kept._source_stamp = digest()  # noqa: SLF001
    return cast(Function, compiled)


def constant(value: int) -> int:
    """A whole number of which numba knows only the type: a plain one would compile its callees once per value."""
    return cast(int, np.int64(value))


def digest() -> str:
    """What this package's sources are, as one text."""
    sources = sorted(Path(__file__).parent.glob("*.py"))
    return sha256(b"".join(source.read_bytes() for source in sources)).hexdigest()
