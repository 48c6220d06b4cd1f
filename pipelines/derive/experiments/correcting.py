"""Many metrics and arms at once: p-values corrected so that one false alarm in all is as rare as alpha says."""

from __future__ import annotations

import polars as pl
from tea_tasting.experiment import ExperimentResult
from tea_tasting.multiplicity import adjust_fwer

HYPOTHESIS = ["metric", "arm"]


def corrected(compared: pl.DataFrame, correction: str) -> pl.DataFrame:
    """The frame with p_corrected set, ``holm`` or ``none``.

    Raw rows are corrected among all raw rows; adjusted rows among the rows that would be decided on, which are the
    adjusted one where there is one and else the raw one. A metric counts once either way.
    """
    if correction == "none" or compared.is_empty():
        return compared.with_columns(p_corrected=pl.col("p_value"))
    raw = pl.col("adjusted") == "raw"
    decided = compared.select((~raw) | (pl.col("adjusted").len().over(_hypothesis(compared)) == 1)).to_series()
    among_raw = _holm(compared["p_value"], compared.select(raw).to_series())
    among_decided = _holm(compared["p_value"], decided)
    return compared.with_columns(p_corrected=pl.when(raw).then(among_raw).otherwise(among_decided))


def _hypothesis(compared: pl.DataFrame) -> list[str]:
    return [*(["segment"] if "segment" in compared.columns else []), *HYPOTHESIS]


def _holm(p_values: pl.Series, family: pl.Series) -> pl.Series:
    """Holm's step-down p-values among the rows of a family; null elsewhere and where p is unknown."""
    rows = [row for row, (p, belongs) in enumerate(zip(p_values, family, strict=True)) if belongs and p is not None]
    told: list[float | None] = [None] * len(p_values)
    if rows:
        results = {str(row): {"pvalue": p_values[row]} for row in rows}
        adjusted = adjust_fwer(ExperimentResult(results), arbitrary_dependence=True, method="bonferroni", alpha=0.05)
        for row, result in next(iter(adjusted.values())).items():
            told[int(row)] = float(result["pvalue_adj"])
    return pl.Series(told, dtype=pl.Float64)
