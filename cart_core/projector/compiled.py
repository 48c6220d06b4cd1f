"""Functions compiled to machine code once per machine, and loaded from a cache ever after."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, cast

import numba
from numba import types

Function = TypeVar("Function", bound=Callable[..., Any])


def compiled(*arguments: Any) -> Callable[[Function], Function]:
    """Compile a function that takes arrays and numbers and allocates nothing; it runs without the interpreter lock.

    With the types of its arguments it is compiled, or loaded from the cache, when its module is imported, so that no
    first call is slow; without, it becomes part of the functions that call it. The cache lies beside the source or,
    where that may not be written, in the user's cache folder (NUMBA_CACHE_DIR names another); where neither can be
    written, each process compiles again.
    """

    def decorate(function: Function) -> Function:
        # Without numba's reference counts (_nrt) an array is a pointer: they made this fold five times slower.
        options: dict[str, Any] = {"nogil": True, "error_model": "numpy", "_nrt": False, "forceinline": not arguments}
        jit: Any = numba.njit
        try:
            return cast(Function, jit(arguments or None, cache=True, **options)(function))
        except RuntimeError as error:
            if "no locator available" not in str(error):
                raise
            return cast(Function, jit(arguments or None, **options)(function))

    return decorate


def read(kind: Any, *, dimensions: int = 1) -> Any:
    """The type of a contiguous array that a compiled function only reads."""
    return types.Array(kind, dimensions, "C", readonly=True)


def written(kind: Any, *, dimensions: int = 1) -> Any:
    """The type of a contiguous array that a compiled function writes to."""
    return types.Array(kind, dimensions, "C")


def named(class_: Any, *members: Any) -> Any:
    """The type of a named tuple of arrays."""
    return types.NamedTuple(members, class_)  # type: ignore[no-untyped-call]
