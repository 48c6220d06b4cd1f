"""The questions of ``analytics.py`` as a person would ask them in DuckDB, and what both answers must agree on.

The questions are asked over views events, exposures, contacts.
"""

from __future__ import annotations

SILENCES = """
WITH line AS (
    SELECT cart_id, version, CASE type WHEN 'ItemRemoved' THEN 0 ELSE quantity END
        - lag(CASE type WHEN 'ItemRemoved' THEN 0 ELSE quantity END, 1, 0)
          OVER (PARTITION BY cart_id, product_id ORDER BY version) AS delta
    FROM events
    WHERE type IN ('ItemAdded', 'ItemRemoved', 'QuantityChanged') AND timestamp <= getvariable('as_of')
),
held AS (
    SELECT cart_id, version, sum(delta) OVER (PARTITION BY cart_id ORDER BY version) AS units FROM line
),
done AS (SELECT cart_id, min(timestamp) AS completed_at FROM events WHERE type = 'CheckoutCompleted' GROUP BY cart_id),
act AS (
    SELECT cart_id, version, user_id, timestamp AS last_at,
        lead(timestamp) OVER (PARTITION BY cart_id ORDER BY timestamp, version) AS next_at
    FROM events
    WHERE timestamp <= getvariable('as_of') AND (
        type IN ('ItemAdded', 'ItemRemoved', 'QuantityChanged', 'CouponApplied', 'CheckoutStarted')
        OR (type = 'CouponRemoved' AND coalesce(reason, '') NOT IN ('expired', 'invalid')))
),
silence AS (
    SELECT act.*, completed_at, held.units
    FROM act LEFT JOIN done USING (cart_id) ASOF LEFT JOIN held
        ON act.cart_id = held.cart_id AND act.version >= held.version
    WHERE completed_at IS NULL OR completed_at > last_at
)
"""

EPISODES = (
    SILENCES
    + """
SELECT cart_id, epoch(idle)::BIGINT AS idle_s, last_at, last_at + idle AS abandoned_at, units::BIGINT AS units, 1 AS n,
    CASE WHEN completed_at <= last_at + idle + INTERVAL 7 DAY THEN 'recovered'
         WHEN next_at <= last_at + idle + INTERVAL 7 DAY THEN 'resumed'
         WHEN last_at + idle + INTERVAL 7 DAY <= getvariable('as_of') THEN 'lost' ELSE 'open' END AS outcome
FROM silence, (VALUES (INTERVAL 10 MINUTE), (INTERVAL 1 HOUR), (INTERVAL 1 DAY)) AS definition(idle)
WHERE units > 0 AND last_at + idle <= least(next_at, completed_at, getvariable('as_of'))
"""
)

FUNNEL = """
WITH exposed AS (
    SELECT user_id, min(exposed_at) AS exposed_at, any_value(variant) AS variant
    FROM exposures WHERE experiment = 'checkout_button' GROUP BY user_id HAVING count(DISTINCT variant) = 1
),
touch AS (
    SELECT user_id, variant, type, timestamp AS moment FROM events JOIN exposed USING (user_id)
    WHERE timestamp >= exposed_at AND type IN ('ItemAdded', 'CheckoutStarted', 'CheckoutCompleted')
),
started AS (
    SELECT added.user_id, added.variant, added.moment AS added_at, later.moment AS started_at
    FROM (FROM touch WHERE type = 'ItemAdded') AS added
    ASOF LEFT JOIN (FROM touch WHERE type = 'CheckoutStarted') AS later
        ON added.user_id = later.user_id AND added.moment <= later.moment
),
bought AS (
    SELECT started.* REPLACE (CASE WHEN started_at <= added_at + INTERVAL 7 DAY THEN started_at END AS started_at),
        CASE WHEN moment <= added_at + INTERVAL 7 DAY THEN moment END AS bought_at
    FROM started ASOF LEFT JOIN (FROM touch WHERE type = 'CheckoutCompleted') AS later
        ON started.user_id = later.user_id AND started.started_at <= later.moment
),
best AS (
    SELECT DISTINCT ON (user_id) * FROM bought
    ORDER BY user_id, (started_at IS NOT NULL)::INT + (bought_at IS NOT NULL)::INT DESC, added_at DESC
),
days AS (
    SELECT variant || ' ' || added_at::DATE AS "group", count(*) AS added, count(started_at) AS started,
        count(bought_at) AS bought, median(date_diff('second', added_at, started_at)),
        median(date_diff('second', started_at, bought_at))
    FROM best GROUP BY ALL
)
SELECT "group", unnest([0, 1, 2]) AS step_index, unnest([added, started, bought]) AS converted, COLUMNS('median.*')
FROM days
"""

CANDIDATES = (
    SILENCES
    + """,
waiting AS (
    SELECT cart_id, user_id, last_at FROM silence
    WHERE units > 0 AND next_at IS NULL AND completed_at IS NULL
        AND last_at + INTERVAL 1 HOUR <= getvariable('as_of')
        AND last_at + INTERVAL 1 HOUR + INTERVAL 7 DAY > getvariable('as_of')
),
stands AS (
    SELECT cart_id, product_id, arg_max(product_name, version) FILTER (type = 'ItemAdded') AS product_name,
        arg_max(type, version) FILTER (type IN ('ItemAdded', 'ItemRemoved')) AS last_type,
        arg_max(quantity, version) FILTER (type IN ('ItemAdded', 'QuantityChanged')) AS quantity,
        arg_max(price_cents, version) FILTER (type IN ('ItemAdded', 'PriceUpdated')) AS price_cents
    FROM events SEMI JOIN waiting USING (cart_id) WHERE product_id IS NOT NULL GROUP BY ALL
),
content AS (
    SELECT cart_id, list(struct_pack(id := product_id, name := product_name, n := quantity, cents := price_cents))
        AS content,
        count(*) AS lines, sum(quantity * price_cents)::BIGINT AS subtotal_cents
    FROM stands WHERE last_type = 'ItemAdded' GROUP BY cart_id
),
bought AS (SELECT user_id, max(timestamp) AS bought_at FROM events WHERE type = 'CheckoutCompleted' GROUP BY user_id)
SELECT *, coalesce(bought_at >= last_at, false) AS bought, coalesce(consent, false) AND email IS NOT NULL AS may_write
FROM waiting JOIN content USING (cart_id) LEFT JOIN contacts USING (user_id) LEFT JOIN bought USING (user_id)
"""
)

EXPERIMENT = """
WITH exposed AS (
    SELECT user_id, min(exposed_at) AS exposed_at, any_value(variant) AS variant
    FROM exposures WHERE experiment = 'checkout_button' GROUP BY user_id HAVING count(DISTINCT variant) = 1
),
begun AS (SELECT cart_id, min(timestamp) AS since FROM events WHERE type = 'ItemAdded' GROUP BY cart_id),
person AS (
    SELECT user_id, variant,
        count(DISTINCT cart_id) FILTER (type = 'ItemAdded' AND inside AND since >= exposed_at) AS carts,
        count(*) FILTER (type = 'ItemAdded' AND inside) AS adds,
        count(*) FILTER (type = 'ItemRemoved' AND inside AND since >= exposed_at) AS removals,
        count(*) FILTER (type = 'CheckoutStarted' AND inside) AS starts,
        count(*) FILTER (type = 'CheckoutCompleted' AND inside) AS orders,
        coalesce(sum(total_cents) FILTER (type = 'CheckoutCompleted' AND inside), 0) AS revenue,
        coalesce(sum(total_cents) FILTER (type = 'CheckoutCompleted' AND timestamp < exposed_at), 0) AS before
    FROM (SELECT *, timestamp BETWEEN exposed_at AND exposed_at + INTERVAL 7 DAY AS inside
          FROM exposed LEFT JOIN events USING (user_id) LEFT JOIN begun USING (cart_id))
    GROUP BY ALL
),
arm AS (
    SELECT variant, count(*), avg(revenue), var_samp(revenue), avg(before), covar_samp(revenue, before),
        var_samp(orders), avg(carts), avg(adds),
        avg((orders > 0)::INT) AS conversion, avg(orders) AS orders_per_user,
        sum(revenue) / sum(orders) AS average_order_value, sum(removals) / sum(carts) AS removals_per_cart,
        avg((adds > 0)::INT) AS step_add, avg((starts > 0)::INT) AS step_checkout,
        avg((orders > 0)::INT) AS step_purchase
    FROM person GROUP BY variant
)
SELECT metric, max(value) FILTER (variant = 'control') AS control_value,
    max(value) FILTER (variant = 'treatment') AS treatment_value
FROM (UNPIVOT (SELECT variant, conversion, orders_per_user, average_order_value, removals_per_cart, step_add,
    step_checkout, step_purchase FROM arm) ON COLUMNS(* EXCLUDE variant) INTO NAME metric VALUE value)
GROUP BY metric
"""

EPISODES_IN_SUM = "SELECT idle_s, outcome, sum(n) AS rows, sum(units) AS units FROM found GROUP BY idle_s, outcome"
FUNNEL_IN_SUM = 'SELECT "group", step_index, sum(converted), count(*) AS rows FROM found GROUP BY "group", step_index'
CANDIDATES_IN_SUM = """
SELECT count(*) AS rows, sum(subtotal_cents) AS cents, sum(lines) AS lines, sum(bought) AS bought FROM found
"""
EXPERIMENT_IN_SUM = """
SELECT metric, round(control_value, 6) AS control, round(treatment_value, 6) AS treatment, 1 AS rows FROM found
WHERE metric IN ('conversion', 'orders_per_user', 'average_order_value', 'removals_per_cart', 'step_add',
    'step_checkout', 'step_purchase')
"""
"""What both answers must agree on, over a table ``found``: what the SQL does not find is left out."""
