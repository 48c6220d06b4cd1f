"""The full trail of a period for an auditor: its events, the ledger above them, and how to check both offline."""

from cart_core.audit.check import check_pack
from cart_core.audit.pack import Audited, write_audit
from cart_core.audit.period import CLOCKS, Clock, Period

__all__ = ["CLOCKS", "Audited", "Clock", "Period", "check_pack", "write_audit"]
