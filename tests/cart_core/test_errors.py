"""Errors that cross from one process into another."""

from __future__ import annotations

import copy
import pickle

import pytest

from cart_core import errors
from cart_core.errors import CartError, Problem

RAISED = [
    errors.InvalidEvent([Problem("quantity", 0, "at least 1")], row=3),
    errors.ConcurrencyError("c0ffee00-0000-4000-8000-000000000001", 2, 4),
    errors.EventIdConflict("e7", row=0),
    errors.VersionGap("c0ffee00-0000-4000-8000-000000000001", 5),
    errors.StillNamed([20, 21], ["people.bin"]),
    errors.StoreNotFound("there is no store"),
    errors.StoreCorrupt("a segment is torn"),
    errors.SourceError("no Parquet file"),
]


@pytest.mark.parametrize("error", RAISED, ids=lambda each: type(each).__name__)
def test_an_error_says_the_same_in_another_process(error: CartError):
    """Its words and its fields come through a pool of processes, which pickles them."""
    for other in (pickle.loads(pickle.dumps(error)), copy.copy(error)):
        assert (type(other), str(other), vars(other)) == (type(error), str(error), vars(error))
