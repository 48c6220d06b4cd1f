"""Silences of carts: the episodes, the events that announce them, their figures by day and hour, what changed."""

from __future__ import annotations

from pipelines.tables.contract import COUNT, DAY, FLAG, MOMENT, NUMBER, SMALL, TEXT, Column, Table

IDLE = Column("idle_s", COUNT, "s", "The definition: the silence after which a cart counts as abandoned.")
STAGE = Column("stage", TEXT, "word", "cart, or checkout where a checkout had been started.")
CART = Column("cart_id", TEXT, "id", "The cart.")
USER = Column("user_id", TEXT, "id", "The shopper of the cart's first event.", null="where the shopper was forgotten")
LAST_ACTIVITY = Column("last_activity_at", MOMENT, "time", "When the shopper last did something before the silence.")
CURRENCY = Column("currency", TEXT, "word", "The currency of all these episodes.", null="where they mix currencies")
VALUE = Column("value_cents", COUNT, "cents", "Sum of their value_cents.", null="where they mix currencies")

EPISODES = Table(
    "abandonment_episodes",
    "One silence of one cart that was not checked out and held at least one unit, as of one moment.",
    ("cart_id", "episode_no"),
    (
        CART,
        Column("episode_no", SMALL, "number", "1 for the cart's first silence, then 2, 3 ..."),
        USER,
        IDLE,
        LAST_ACTIVITY,
        Column("abandoned_at", MOMENT, "time", "When the silence became an episode: last activity plus idle_s."),
        STAGE,
        Column("line_count", SMALL, "count", "Live lines when the episode opened."),
        Column("unit_count", COUNT, "count", "Units on those lines."),
        Column("currency", TEXT, "word", "Their currency.", null="where lines mix currencies"),
        Column("subtotal_cents", COUNT, "cents", "Price x quantity at that moment.", null="where lines mix currencies"),
        Column("discount_cents", COUNT, "cents", "What coupons took off then.", null="where lines mix currencies"),
        Column("value_cents", COUNT, "cents", "Subtotal less discount then.", null="where lines mix currencies"),
        Column("last_version", SMALL, "number", "The highest version of an event behind that state."),
        Column("outcome", TEXT, "word", "recovered, resumed, lost or open (undecided: the window is not over)."),
        Column("resumed_at", MOMENT, "time", "The first activity after it opened, however late.", null="if none"),
        Column("recovered_at", MOMENT, "time", "When the cart was checked out.", null="unless recovered"),
        Column("resolved_at", MOMENT, "time", "When the outcome became final.", null="while open"),
        Column("mature", FLAG, "yes/no", "Whether the attribution window is over, so that the outcome is final."),
        Column("recovery_s", NUMBER, "s", "From abandoned_at to recovered_at.", null="unless recovered"),
        Column("credited", FLAG, "yes/no", "Whether it is recovered and its cart's last: an order is credited once."),
    ),
)

EVENTS_APPENDED = Table(
    "abandonment_events",
    "One CartAbandoned event that stands in the store.",
    ("cart_id", "version"),
    (
        CART,
        Column("version", SMALL, "number", "The version of the event."),
        Column("event_id", TEXT, "id", "The event."),
        Column("last_activity_at", MOMENT, "time", "The last activity that the event states."),
        Column("timestamp", MOMENT, "time", "When the event says that it happened."),
        Column("recorded_at", MOMENT, "time", "When the store accepted it.", null="where no store has accepted it"),
    ),
)

DAILY = Table(
    "abandonment_daily",
    "The episodes that opened on one day, by definition and stage.",
    ("idle_s", "date", "stage"),
    (
        IDLE,
        Column("date", DAY, "date", "The day of abandoned_at in the time zone asked for."),
        STAGE,
        Column("episodes", COUNT, "count", "Episodes that opened."),
        Column("carts", COUNT, "count", "Different carts among them."),
        Column("mature", COUNT, "count", "Episodes whose window is over."),
        Column("recovered", COUNT, "count", "Mature episodes that were recovered."),
        Column("resumed", COUNT, "count", "Mature episodes that were resumed only."),
        Column("lost", COUNT, "count", "Mature episodes that were lost."),
        Column("immature", COUNT, "count", "Episodes whose window is not over, whatever their outcome so far."),
        Column("orders", COUNT, "count", "Orders so far that are credited to these episodes."),
        Column("recovery_rate", NUMBER, "ratio", "Recovered / mature.", null="where nothing is mature"),
        Column("median_recovery_s", NUMBER, "s", "Median of recovery_s of the recovered.", null="where none is"),
        CURRENCY,
        VALUE,
    ),
)

HOURLY = Table(
    "abandonment_hourly",
    "The episodes that opened in one hour of the week, by stage.",
    ("idle_s", "weekday", "hour", "stage"),
    (
        IDLE,
        Column("weekday", SMALL, "number", "1 Monday to 7 Sunday, in the time zone asked for."),
        Column("hour", SMALL, "number", "0 to 23, in the time zone asked for."),
        STAGE,
        Column("episodes", COUNT, "count", "Episodes that opened."),
        Column("mature", COUNT, "count", "Episodes whose window is over."),
        Column("recovered", COUNT, "count", "Mature episodes that were recovered."),
        Column("recovery_rate", NUMBER, "ratio", "Recovered / mature.", null="where nothing is mature"),
        CURRENCY,
        VALUE,
    ),
)

COHORTS = Table(
    "cart_cohorts",
    "The carts whose first item was added on one day.",
    ("idle_s", "date"),
    (
        IDLE,
        Column("date", DAY, "date", "The day of the first ItemAdded in the time zone asked for."),
        Column("carts", COUNT, "count", "Carts that started."),
        Column("abandoned", COUNT, "count", "Of these, carts with at least one episode so far."),
        Column("checked_out", COUNT, "count", "Of these, carts that are checked out."),
        Column("abandonment_rate", NUMBER, "ratio", "Abandoned / carts."),
        Column("checkout_rate", NUMBER, "ratio", "Checked out / carts."),
        Column("mature", FLAG, "yes/no", "Whether idle_s and the window have passed since that day."),
    ),
)

RESTATEMENTS = Table(
    "restatements",
    "One episode that late events added, withdrew or changed between two moments of knowledge.",
    ("cart_id", "last_activity_at", "idle_s"),
    (
        CART,
        LAST_ACTIVITY,
        IDLE,
        Column("change", TEXT, "word", "added, withdrawn or changed."),
        Column("fields", TEXT, "text", "The changed columns, comma-separated.", null="unless changed"),
        Column("known_at_1", MOMENT, "time", "The earlier moment of knowledge."),
        Column("known_at_2", MOMENT, "time", "The later moment of knowledge."),
        Column("outcome_1", TEXT, "word", "The outcome as known first.", null="where added"),
        Column("outcome_2", TEXT, "word", "The outcome as known later.", null="where withdrawn"),
        Column("value_cents_1", COUNT, "cents", "The value as known first.", null="where added or mixed"),
        Column("value_cents_2", COUNT, "cents", "The value as known later.", null="where withdrawn or mixed"),
        Column("late_events", COUNT, "count", "Events of the cart that became known in between."),
    ),
)

TABLES = (EPISODES, EVENTS_APPENDED, DAILY, HOURLY, COHORTS, RESTATEMENTS)
