"""How far shoppers get: funnels by day, by breakdown, by shopper and by product, and how long they take."""

from __future__ import annotations

from pipelines.tables.contract import COUNT, DAY, FLAG, MOMENT, NUMBER, SMALL, TEXT, Column, Table

FUNNEL = Column("funnel", TEXT, "id", "Which funnel: cart (add, checkout, purchase) or user (view first).")
STEP_COLUMNS = (
    Column("step_index", SMALL, "number", "0 for the first step."),
    Column("step", TEXT, "word", "The name of the step."),
    Column("entered", COUNT, "count", "Units that converted the step before; for step 0 those that converted it."),
    Column("converted", COUNT, "count", "Units that got at least this far."),
    Column("skipped", COUNT, "count", "Of these, units that passed over this step, where it is optional."),
    Column("rate", NUMBER, "ratio", "Converted / converted of step 0.", null="where the denominator is 0"),
    Column("step_rate", NUMBER, "ratio", "Converted / entered.", null="where the denominator is 0"),
    Column("mean_s", NUMBER, "s", "Mean time from the step before.", null="for step 0, or where nobody converted"),
    Column("median_s", NUMBER, "s", "Median time from the step before.", null="for step 0, or where nobody converted"),
    Column("p90_s", NUMBER, "s", "90th percentile of it.", null="for step 0, or where nobody converted"),
    Column("mature", FLAG, "yes/no", "Whether the window of every unit counted here is over.", null="without as_of"),
)

DAILY = Table(
    "funnel_daily",
    "One step of the funnel view, add, checkout, purchase over the attempts that shoppers began on one day.",
    ("date", "step_index"),
    (Column("date", DAY, "date", "The day of the attempt's first touch in the time zone asked for."), *STEP_COLUMNS),
)

STEPS = Table(
    "funnel_steps",
    "One step of one funnel for one value of one breakdown.",
    ("funnel", "breakdown", "breakdown_value", "step_index"),
    (
        FUNNEL,
        Column("breakdown", TEXT, "word", "The property that splits the units; all for no split."),
        Column("breakdown_value", TEXT, "text", "Its value at the unit's first touch; (none) where it has none."),
        *STEP_COLUMNS,
    ),
)

USERS = Table(
    "user_funnel",
    "How deep one shopper got, over the attempt that counts.",
    ("user_id",),
    (
        Column("user_id", TEXT, "id", "The shopper."),
        Column("depth", SMALL, "number", "How many steps were converted, 1 to 4."),
        Column("deepest_step", TEXT, "word", "The last step converted."),
        Column("viewed_at", MOMENT, "time", "The product view that the attempt rests on."),
        Column("added_at", MOMENT, "time", "When an item was added.", null="if never"),
        Column("checkout_at", MOMENT, "time", "When a checkout started.", null="if never, or passed over"),
        Column("purchased_at", MOMENT, "time", "When a checkout completed.", null="if never"),
        Column("convert_s", NUMBER, "s", "From view to purchase.", null="unless purchased"),
        Column("mature", FLAG, "yes/no", "Whether the window is over."),
    ),
)

PRODUCTS = Table(
    "product_funnel",
    "How many shoppers viewed, added and bought one product.",
    ("product_id",),
    (
        Column("product_id", TEXT, "id", "The product."),
        Column("product_name", TEXT, "text", "Its latest name in a cart.", null="where it was never in a cart"),
        Column("viewers", COUNT, "count", "Shoppers who viewed it."),
        Column("adders", COUNT, "count", "Viewers who then added it within the window."),
        Column("buyers", COUNT, "count", "Adders who then bought it within the window."),
        Column("add_rate", NUMBER, "ratio", "Adders / viewers.", null="where nobody viewed"),
        Column("buy_rate", NUMBER, "ratio", "Buyers / viewers.", null="where nobody viewed"),
        Column("median_add_s", NUMBER, "s", "Median time from view to add.", null="where nobody added"),
        Column("median_buy_s", NUMBER, "s", "Median time from add to purchase.", null="where nobody bought"),
        Column("units_bought", COUNT, "count", "Units of it in orders, viewed before or not."),
        Column("currency", TEXT, "word", "The currency of these orders.", null="where none was bought, or they mix"),
        Column("revenue_cents", COUNT, "cents", "Price x quantity at checkout before discounts.", null="as currency"),
    ),
)

TIMES = Table(
    "funnel_times",
    "How many units took a certain time from one step to another.",
    ("funnel", "from_step", "to_step", "from_s"),
    (
        FUNNEL,
        Column("from_step", SMALL, "number", "The index of the step the clock starts at."),
        Column("to_step", SMALL, "number", "The index of the step it stops at."),
        Column("from_s", NUMBER, "s", "Lower edge of the class, inclusive."),
        Column("to_s", NUMBER, "s", "Upper edge of the class, exclusive; infinity for the last."),
        Column("converted", COUNT, "count", "Units whose time falls into the class."),
        Column("share", NUMBER, "ratio", "Of all that converted.", null="where nobody converted"),
    ),
)

TABLES = (DAILY, STEPS, USERS, PRODUCTS, TIMES)
