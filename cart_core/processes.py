"""Processes of this machine: which are still there, so that what the others left behind can go."""

from __future__ import annotations

import os


def is_running(process: int) -> bool:
    """Whether a process of this number is there, whoever it belongs to."""
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True
