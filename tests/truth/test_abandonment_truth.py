import polars as pl
import pytest

from cart_core.simulator import Behaviour, Shop, chunks
from cart_core.simulator.shop import IDLE, WINDOW
from pipelines.derive.abandonment import episodes
from tests.truth.worlds import WHOLE

SHOPS = [
    Shop(carts=4_000, days=20, seed=1),
    Shop(carts=2_000, days=2, seed=2),
    Shop(carts=2_000, days=9, seed=3, behaviour=Behaviour(another_visit=0.7, slow_payment=0.5, remove=0.3)),
]
MORE = [Shop(carts=16_000, days=30, seed=seed) for seed in range(4, 12)] if WHOLE else []


@pytest.mark.parametrize("shop", [*SHOPS, *MORE], ids=lambda shop: f"seed {shop.seed}")
def test_episodes_are_those_of_the_script(shop):
    """Every silence in the script of the simulated shoppers is derived from their events, and no other."""
    for part in chunks(shop):
        truth = pl.DataFrame(part.episodes).rename({"completed_at": "recovered_at"})
        truth = truth.with_columns(recovered_at=pl.when(pl.col("outcome") == "recovered").then("recovered_at"))
        found = episodes(part.events, shop.end, idle=IDLE, window=WINDOW)
        key = ["cart_id", "episode_no"]
        assert found.select(truth.columns).sort(key).equals(truth.sort(key))
        assert truth["outcome"].n_unique() >= 3
