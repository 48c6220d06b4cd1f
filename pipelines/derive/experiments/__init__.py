"""Experiments: who was exposed to what, what they did afterwards, and what may be said about it.

``compare`` is the centre: one row per user in, one row per metric and arm out. Around it stand the way from events
to that row (``acts``, ``first_exposures``, ``unit_metrics``), the checks (``srm``, ``always_valid``), the
declarations (``declared``), and ``analyse``, which does all of it for one declared experiment.
"""

from __future__ import annotations

from pipelines.derive.experiments.acts import ACT_COLUMNS, Acted, acted, acts, viewed
from pipelines.derive.experiments.analysis import (
    Analysis,
    Tallier,
    analyse,
    analysed,
    compare_segments,
    exposed_by,
)
from pipelines.derive.experiments.comparing import compare
from pipelines.derive.experiments.declared import Experiment, ExperimentError, Guardrail, declared
from pipelines.derive.experiments.exposing import (
    Exposed,
    exposures_by_hash,
    exposures_from_metadata,
    first_acts,
    first_exposures,
)
from pipelines.derive.experiments.metrics import CATALOG, Mean, Metric, Proportion, Ratio
from pipelines.derive.experiments.power import plan
from pipelines.derive.experiments.sequential import always_valid
from pipelines.derive.experiments.splitting import assign, share_of, split, srm
from pipelines.derive.experiments.tallying import together, unit_metrics

__all__ = [
    "ACT_COLUMNS",
    "CATALOG",
    "Acted",
    "Analysis",
    "Experiment",
    "ExperimentError",
    "Exposed",
    "Guardrail",
    "Mean",
    "Metric",
    "Proportion",
    "Ratio",
    "Tallier",
    "acted",
    "acts",
    "always_valid",
    "analyse",
    "analysed",
    "assign",
    "compare",
    "compare_segments",
    "declared",
    "exposed_by",
    "exposures_by_hash",
    "exposures_from_metadata",
    "first_acts",
    "first_exposures",
    "plan",
    "share_of",
    "split",
    "srm",
    "together",
    "unit_metrics",
    "viewed",
]
