"""Whether a run fits into memory."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final

from .._memory import available
from .._words import spoken
from ..check import memory_in_time, memory_needed
from ..errors import ConfigurationError
from ..sinks.base import labels, streams, tables

if TYPE_CHECKING:
    from .request import Load

__all__ = ["check_memory"]

#: Customers times days of a load whose rows fit into any memory: some 300 MB of them.
_SMALL: Final = 2_000_000

_log = logging.getLogger(__name__)


def check_memory(run: Load, *, streaming: bool) -> None:
    """Refuses a load that does not fit into the free memory, and warns of a large one."""
    if run.customers * run.plan.days <= _SMALL:
        return
    sent = [*filter(run.takes, streams())]
    smaller = "fewer --customers or fewer --days"
    if not run.fast:
        needed = memory_needed(
            run.plan, run.from_customer, names=[*tables(), *filter(run.takes, [labels()]), *sent]
        )
        kept, way_out = "standard mode keeps every row", f"--fast, {smaller}"
    elif sent and run.order == "time":
        needed = memory_in_time(run.plan, run.from_customer)
        if streaming and any(map(run.takes, tables())):
            # Rows that follow have states of their own.
            needed *= 2
        kept = "order of time keeps the state of each account, card and loan"
        # A stream has no other order.
        way_out = smaller if streaming else f"--order entity, {smaller}"
    else:
        return
    free = available()
    said = f"{kept} in memory: {needed / 1e9:.1f} GB, of which {free / 1e9:.1f} GB are free"
    if needed > free:
        raise ConfigurationError(f"{said}; use {way_out}")
    if needed > free / 4:
        _log.warning("%s; %s would take less", said, spoken(way_out))
