"""The questions of ``analytics.py`` as a person would ask them in DuckDB, over views events, exposures, contacts."""

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
SELECT cart_id, idle, last_at, last_at + idle AS abandoned_at, units,
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
added AS (SELECT user_id, variant, min(moment) AS added_at FROM touch WHERE type = 'ItemAdded' GROUP BY ALL),
started AS (
    SELECT user_id, variant, added_at, min(moment) AS started_at
    FROM added LEFT JOIN (FROM touch WHERE type = 'CheckoutStarted') AS later USING (user_id, variant)
    WHERE moment IS NULL OR moment BETWEEN added_at AND added_at + INTERVAL 7 DAY GROUP BY ALL
),
bought AS (
    SELECT user_id, variant, added_at, started_at, min(moment) AS bought_at
    FROM started LEFT JOIN (FROM touch WHERE type = 'CheckoutCompleted') AS later USING (user_id, variant)
    WHERE moment IS NULL OR started_at IS NULL OR moment BETWEEN started_at AND added_at + INTERVAL 7 DAY GROUP BY ALL
)
SELECT variant, added_at::DATE AS day, count(*) AS added, count(started_at) AS started, count(bought_at) AS bought,
    median(date_diff('second', added_at, started_at)) AS start_s, median(date_diff('second', started_at, bought_at))
FROM bought GROUP BY ALL
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
        AS lines,
        sum(quantity * price_cents) AS subtotal_cents
    FROM stands WHERE last_type = 'ItemAdded' GROUP BY cart_id
),
bought AS (SELECT user_id, max(timestamp) AS bought_at FROM events WHERE type = 'CheckoutCompleted' GROUP BY user_id)
SELECT *, coalesce(consent, false) AND email IS NOT NULL AND (bought_at IS NULL OR bought_at < last_at) AS eligible
FROM waiting JOIN content USING (cart_id) LEFT JOIN contacts USING (user_id) LEFT JOIN bought USING (user_id)
"""
)

EXPERIMENT = """
WITH exposed AS (
    SELECT user_id, min(exposed_at) AS exposed_at, any_value(variant) AS variant
    FROM exposures WHERE experiment = 'checkout_button' GROUP BY user_id HAVING count(DISTINCT variant) = 1
),
person AS (
    SELECT user_id, variant,
        count(DISTINCT cart_id) FILTER (type = 'ItemAdded' AND inside) AS carts,
        count(*) FILTER (type = 'ItemAdded' AND inside) AS adds,
        count(*) FILTER (type = 'ItemRemoved' AND inside) AS removals,
        count(*) FILTER (type = 'CheckoutStarted' AND inside) AS starts,
        count(*) FILTER (type = 'CheckoutCompleted' AND inside) AS orders,
        coalesce(sum(total_cents) FILTER (type = 'CheckoutCompleted' AND inside), 0) AS revenue,
        coalesce(sum(total_cents) FILTER (type = 'CheckoutCompleted' AND timestamp < exposed_at), 0) AS before
    FROM (SELECT *, timestamp BETWEEN exposed_at AND exposed_at + INTERVAL 7 DAY AS inside
          FROM exposed LEFT JOIN events USING (user_id))
    GROUP BY ALL
)
SELECT variant, count(*), avg(orders), var_samp(orders), avg(revenue), var_samp(revenue), avg(before),
    covar_samp(revenue, before), avg(carts), avg(adds), avg(removals), sum(revenue) / sum(orders),
    avg((orders > 0)::INT), avg((starts > 0)::INT), avg((adds > 0)::INT), sum(removals) / sum(carts)
FROM person GROUP BY variant
"""
