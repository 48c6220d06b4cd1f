"""Where shoppers fell silent: the gaps in each cart's activity, before anything is decided about them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from cart_core.projector import kernel
from pipelines.derive.histories import Array, Histories

ACTIVE = np.zeros(kernel.QUIET_REMOVAL + 1, bool)
ACTIVE[: kernel.COUPON_REMOVED + 1] = True
ACTIVE[kernel.CHECKOUT_STARTED] = True
NEVER = np.int64(2**63 - 1)


@dataclass(frozen=True, slots=True)
class Silences:
    """One entry per activity that nothing followed for ``idle_us``, by cart, time and then definition.

    ``resumed_us`` is the next activity, ``completed_us`` the cart's checkout; NEVER where there was none. A resumption
    after the checkout is none.
    """

    cart: Array
    idle_us: Array
    last_us: Array
    resumed_us: Array
    completed_us: Array

    @property
    def abandoned_us(self) -> Array:
        """When each silence had lasted long enough."""
        return self.last_us + self.idle_us

    @property
    def state_us(self) -> Array:
        """The last moment that still belongs to the state in which each silence became long enough."""
        return np.asarray(np.minimum(self.abandoned_us, np.minimum(self.resumed_us, self.completed_us) - 1))

    def where(self, mask: Array) -> Silences:
        """Some of the silences, in the same order."""
        return Silences(
            self.cart[mask], self.idle_us[mask], self.last_us[mask], self.resumed_us[mask], self.completed_us[mask]
        )


def silences(known: Histories, as_of_us: int, idles_us: list[int]) -> Silences:
    """The silences of carts that were not checked out, each at least as long as one of the definitions, as of then.

    A silence ends with the next activity or the checkout; one that ends at the very moment it is long enough counts.
    """
    times = known.rows.time_us[known.by_time]
    kinds = known.kinds[known.by_time]
    completed = _completed(known, times, kinds)
    acts = np.flatnonzero(ACTIVE[kinds])
    cart, last = known.cart[acts], times[acts]
    following = np.full(len(acts), NEVER)
    following[:-1] = np.where(cart[1:] == cart[:-1], last[1:], NEVER)
    done = completed[cart]
    following = np.where(following <= done, following, NEVER)
    lasted = np.minimum(np.minimum(following, done), as_of_us) - last
    long = np.flatnonzero((last < done) & (lasted >= min(idles_us)))
    each = np.repeat(long, len(idles_us))
    found = Silences(
        cart[each], np.tile(np.sort(np.array(idles_us, np.int64)), len(long)), last[each], following[each], done[each]
    )
    return found.where(found.idle_us <= lasted[each])


def _completed(known: Histories, times: Array, kinds: Array) -> Array:
    completed = np.full(len(known.begins), NEVER)
    places = np.flatnonzero(kinds == kernel.CHECKOUT_COMPLETED)[::-1]
    completed[known.cart[places]] = times[places]
    return completed
