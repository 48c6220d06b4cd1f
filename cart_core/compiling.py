"""Loops compiled to machine code: once per machine where a cache may be written, else once per process."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, cast

import numba

Function = TypeVar("Function", bound=Callable[..., Any])


COMPILED: dict[str, Any] = {"nogil": True, "error_model": "numpy"}


def compile_loop(function: Function, signature: Any = None, **options: Any) -> Function:
    """Compile a function for a signature, or at its first call; it runs without the interpreter lock.

    What was compiled is kept beside the source or, where that may not be written, in the user's cache folder
    (NUMBA_CACHE_DIR names another); where neither can be written, each process compiles again. ``options`` are numba's.
    """
    jit: Any = numba.njit
    options |= COMPILED
    try:
        return cast(Function, jit(signature, cache=True, **options)(function))
    except RuntimeError as error:
        if "no locator available" not in str(error):
            raise
        return cast(Function, jit(signature, **options)(function))


def compile_part(function: Function, **options: Any) -> Function:
    """Compile a function that compiled functions alone call, when the first of them is compiled.

    It has no door to Python and no file of its own in the cache, which halves the time that compiling takes.
    """
    jit: Any = numba.njit
    doors = {"no_cpython_wrapper": True, "no_cfunc_wrapper": True}
    return cast(Function, jit(**doors, **COMPILED, **options)(function))
