"""What a variant did: effects per metric, the same day by day, and whether the arms were split as planned."""

from __future__ import annotations

from pipelines.tables.contract import COUNT, DAY, FLAG, NUMBER, TEXT, Column, Table

EXPERIMENT = Column("experiment", TEXT, "id", "The experiment.")
METRIC = Column("metric", TEXT, "id", "The metric.")
ARM = Column("arm", TEXT, "id", "The treatment arm, compared with control.")

RESULTS = Table(
    "experiment_results",
    "The effect of one arm on one metric, raw or adjusted, for all users or one segment.",
    ("experiment", "segment", "metric", "arm", "adjusted"),
    (
        EXPERIMENT,
        Column("segment", TEXT, "text", "all, or property=value."),
        METRIC,
        ARM,
        Column("adjusted", TEXT, "word", "raw or CUPED."),
        Column("role", TEXT, "word", "primary, secondary, guardrail or funnel."),
        Column("control_users", COUNT, "count", "Users in control."),
        Column("treatment_users", COUNT, "count", "Users in the arm."),
        Column("control_value", NUMBER, "metric", "The metric in control.", null="where undefined"),
        Column("treatment_value", NUMBER, "metric", "The metric in the arm.", null="where undefined"),
        Column("effect_abs", NUMBER, "metric", "Arm less control.", null="where undefined"),
        Column("abs_low", NUMBER, "metric", "Its lower limit.", null="where undefined"),
        Column("abs_high", NUMBER, "metric", "Its upper limit.", null="where undefined"),
        Column("effect_rel", NUMBER, "ratio", "Arm / control less 1.", null="where undefined"),
        Column("rel_low", NUMBER, "ratio", "Its lower limit.", null="where undefined"),
        Column("rel_high", NUMBER, "ratio", "Its upper limit.", null="where undefined"),
        Column("p_value", NUMBER, "ratio", "Two-sided p of no absolute difference.", null="where undefined"),
        Column("p_corrected", NUMBER, "ratio", "The same, corrected over metrics and arms.", null="where undefined"),
        Column("always_low", NUMBER, "metric", "Always-valid lower limit of the effect.", null="where undefined"),
        Column("always_high", NUMBER, "metric", "Always-valid upper limit of the effect.", null="where undefined"),
        Column("always_p", NUMBER, "ratio", "Always-valid p.", null="where undefined"),
        Column("detectable_rel", NUMBER, "ratio", "Relative effect found with 80 % power.", null="where undefined"),
        Column("verdict", TEXT, "text", "The result in plain words."),
        Column("mature", FLAG, "yes/no", "Whether every user's window is over."),
    ),
)

DAILY = Table(
    "experiment_daily",
    "The effect of one arm on one metric as it stood at the end of one day, safe to look at every day.",
    ("experiment", "date", "metric", "arm"),
    (
        EXPERIMENT,
        Column("date", DAY, "date", "The day, in the time zone asked for."),
        METRIC,
        ARM,
        Column("control_users", COUNT, "count", "Users in control so far."),
        Column("treatment_users", COUNT, "count", "Users in the arm so far."),
        Column("effect_abs", NUMBER, "metric", "Arm less control so far.", null="where undefined"),
        Column("abs_low", NUMBER, "metric", "Its fixed-look lower limit.", null="where undefined"),
        Column("abs_high", NUMBER, "metric", "Its fixed-look upper limit.", null="where undefined"),
        Column("always_low", NUMBER, "metric", "Its always-valid lower limit.", null="where undefined"),
        Column("always_high", NUMBER, "metric", "Its always-valid upper limit.", null="where undefined"),
        Column("always_p", NUMBER, "ratio", "Its always-valid p.", null="where undefined"),
    ),
)

SRM = Table(
    "experiment_srm",
    "The users of one arm against the planned share (sample ratio mismatch).",
    ("experiment", "arm"),
    (
        EXPERIMENT,
        Column("arm", TEXT, "id", "The arm, control among them."),
        Column("weight", NUMBER, "ratio", "Its planned share of all users."),
        Column("expected", NUMBER, "count", "Users by that share."),
        Column("observed", COUNT, "count", "Users in fact."),
        Column("multiple_users", COUNT, "count", "Users of this arm left out because they saw a second arm too."),
        Column("p_value", NUMBER, "ratio", "Chi-square p over all arms of the experiment.", null="with one arm only"),
        Column("alarm", FLAG, "yes/no", "Whether p is below 0.001."),
    ),
)

TABLES = (RESULTS, DAILY, SRM)
