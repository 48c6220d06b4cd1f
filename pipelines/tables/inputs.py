"""What a shop hands in beside its events: contacts, exposures, stock, coupons, sends and product views."""

from __future__ import annotations

from pipelines.tables.contract import COUNT, FLAG, MOMENT, NUMBER, TEXT, Column, Table

CONTACTS = Table(
    "contacts",
    "One shopper's address and whether it may be used.",
    ("user_id",),
    (
        Column("user_id", TEXT, "id", "The shopper."),
        Column("email", TEXT, "text", "The address.", null="where none is known"),
        Column("consent", FLAG, "yes/no", "Whether the shopper agreed to be written to.", null="counts as no"),
        Column("time_zone", TEXT, "word", "IANA name such as Europe/Berlin.", null="counts as the policy's zone"),
    ),
)
EXPOSURES = Table(
    "exposures",
    "One moment at which a shopper was shown a variant.",
    (),
    (
        Column("user_id", TEXT, "id", "The shopper."),
        Column("experiment", TEXT, "id", "The experiment."),
        Column("variant", TEXT, "id", "The variant."),
        Column("exposed_at", MOMENT, "time", "When it was shown."),
    ),
)
STOCK = Table(
    "stock",
    "How many units of a product can be sold.",
    ("product_id",),
    (
        Column("product_id", TEXT, "id", "The product."),
        Column("available", COUNT, "count", "Units on hand."),
    ),
)
COUPONS = Table(
    "coupons",
    "One coupon that the shop issued.",
    ("code",),
    (
        Column("code", TEXT, "id", "The coupon."),
        Column("discount_type", TEXT, "word", "percentage or fixed."),
        Column("discount_value", NUMBER, "percent or cents", "Its size."),
        Column("ends_at", MOMENT, "time", "When it ends.", null="where it has no end"),
    ),
)
SENDS = Table(
    "sends",
    "One mail that went out.",
    (),
    (
        Column("campaign", TEXT, "id", "The campaign."),
        Column("user_id", TEXT, "id", "The shopper."),
        Column("cart_id", TEXT, "id", "The cart it was about.", null="where it was about none"),
        Column("sent_at", MOMENT, "time", "When it went out."),
    ),
)
VIEWS = Table(
    "views",
    "One look at a product.",
    ("view_id",),
    (
        Column("view_id", TEXT, "id", "The view."),
        Column("product_id", TEXT, "id", "The product."),
        Column("user_id", TEXT, "id", "The shopper."),
        Column("session", TEXT, "id", "The visit.", null="where the source names none"),
        Column("at", MOMENT, "time", "When."),
    ),
)

TABLES = (CONTACTS, EXPOSURES, STOCK, COUPONS, SENDS, VIEWS)
