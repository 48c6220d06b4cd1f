# ---
# jupyter:
#   jupytext:
#     formats: ipynb,py:percent
#     text_representation:
#       extension: .py
#       format_name: percent
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Reading an experiment
#
# The shop gave half of its shoppers another checkout button. Was it better? First we read one experiment properly, then
# we walk into the trap that most experiments die in, and out of it again.

# %%
from datetime import timedelta

import altair as alt
import numpy as np
import polars as pl

from cart_core.simulator import Shop, chunks
from pipelines.derive.experiments import Experiment, Proportion, acts, always_valid, analyse, plan

alt.renderers.enable("png")
pl.Config.set_tbl_hide_dataframe_shape(active=True)
shop = Shop(carts=16_000, days=28, seed=5, lift=0.50)
(part,) = chunks(shop)
experiment = Experiment(
    key="checkout_button",
    control="control",
    variants={"control": 0.5, "treatment": 0.5},
    primary="conversion",
    secondary=("revenue_per_user",),
)
found = analyse(experiment, part.exposures, acts(part.events), as_of=shop.end)

# %% [markdown]
# ## First: may the arms be compared at all?
#
# If shoppers were not split as planned, something lost them on the way, and no figure below means anything. The alarm
# is at p < 0.001.

# %%
found.srm

# %% [markdown]
# ## The result in words, then in numbers
#
# Each figure has its interval. CUPED takes out of each shopper's revenue what they had spent before they saw the
# button; the interval gets narrower, and the raw row stands beside it.

# %%
found.results["verdict"][0]

# %%
found.results.select(
    "metric", "adjusted", "control_value", "treatment_value", "effect_rel", "rel_low", "rel_high", "p_value",
    "p_corrected",
)  # fmt: skip

# %%
told = found.results.drop_nulls("rel_low").with_columns(name=pl.col("metric") + " (" + pl.col("adjusted") + ")")
base = alt.Chart(told, title="Relative effect with its 95 % interval").encode(alt.Y("name:N", title=None, sort=None))
bars = base.mark_rule(strokeWidth=3).encode(
    alt.X("rel_low:Q", axis=alt.Axis(format="+%"), title=None), alt.X2("rel_high:Q")
)
zero = alt.Chart(pl.DataFrame({"x": [0.0]})).mark_rule(strokeDash=[4, 4]).encode(x="x:Q")
(bars + base.mark_point(size=80, filled=True).encode(x="effect_rel:Q") + zero).properties(width=380, height=90)

# %% [markdown]
# ## Was it big enough?
#
# Before the experiment one asks how many shoppers are needed to see the effect one cares for. With too few, "no
# difference was shown" says very little.

# %%
control = found.users.filter(variant="control")
pl.concat(
    plan(control, [Proportion("converted")], effect_rel=effect, users_per_day=200) for effect in (0.05, 0.1, 0.2, 0.3)
)

# %% [markdown]
# ## The trap: looking every day
#
# Now a thousand experiments in which nothing differs: both arms convert 20 % of their shoppers. Each gains 100 shoppers
# a day and arm for 28 days. Somebody looks every evening and stops at the first p below 5 %.

# %%
rng = np.random.default_rng(1)
days, daily, tests, rate = 28, 100, 1_000, 0.20
shoppers = np.arange(1, days + 1) * daily
converted = rng.binomial(daily, rate, (2, tests, days)).cumsum(axis=2)
share = converted / shoppers
difference = share[1] - share[0]
se = np.sqrt((share * (1 - share)).sum(axis=0) / shoppers)
ordinary_alarm = np.abs(difference) > 1.96 * se
_, _, p_always = always_valid(difference, se, np.broadcast_to(2 * shoppers, difference.shape))
always_alarm = p_always < 0.05


def ever(alarm: np.ndarray) -> np.ndarray:
    """The share of experiments that were ever stopped by each day."""
    return np.maximum.accumulate(alarm, axis=1).mean(axis=0)


looks = pl.concat(
    [
        pl.DataFrame({"day": np.arange(1, days + 1), "false alarms": ever(alarm), "read as": name})
        for name, alarm in (("ordinary p", ordinary_alarm), ("always-valid p", always_alarm))
    ]
)
looks.filter(pl.col("day").is_in([1, 7, 14, 28])).pivot("day", index="read as", values="false alarms")

# %%
lines = (
    alt.Chart(looks, title="Experiments without any effect that were declared a success or a failure")
    .mark_line()
    .encode(
        alt.X("day:Q", title="looked at every day up to day"),
        alt.Y("false alarms:Q", axis=alt.Axis(format="%"), title=None),
        alt.Color("read as:N", title=None),
    )
)
promised = alt.Chart(pl.DataFrame({"y": [0.05]})).mark_rule(strokeDash=[4, 4]).encode(y="y:Q")
(lines + promised).properties(width=400, height=150)

# %% [markdown]
# The ordinary p keeps its promise of 5 % for one look, at a moment that was chosen before. Looked at daily it is wrong
# in more than a quarter of the cases. The always-valid p may be looked at whenever one likes; the price is a wider
# interval.
#
# ## The same experiment, day by day
#
# The band is the always-valid interval. One may stop when it leaves zero.

# %%
band = found.daily.filter(metric="conversion").drop_nulls("always_low")
band.select("date", "effect_abs", "abs_low", "abs_high", "always_low", "always_high", "always_p").tail(3)

# %%
base = alt.Chart(
    band.filter(pl.col("date") > band["date"].min() + timedelta(days=2)), title="Conversion: effect"
).encode(alt.X("date:T", title=None))
area = base.mark_area(opacity=0.3).encode(
    alt.Y("always_low:Q", axis=alt.Axis(format="+%"), title=None), alt.Y2("always_high:Q")
)
line = base.mark_line().encode(alt.Y("effect_abs:Q", title=None))
(area + line).properties(width=400, height=130)

# %% [markdown]
# The truth, which only a simulated shop knows:

# %%
users, bought_control, bought_treatment = part.sums.tolist()[:3]
{"control": bought_control / users, "treatment": bought_treatment / users}
