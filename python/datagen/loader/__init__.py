"""One run: a plan, checked row by row, into its sinks, and what became of it.

Everything that can be found wrong is found first: options, then connections, topics and schemas.
Then master data is committed, and only then is the first event sent, so that no consumer meets
an event whose account, card or loan is not there.
"""

from .report import RunReport
from .request import FAST_CUSTOMERS, MAX_WORKERS, Load, shard
from .run import Ended, carry_out, load
from .running import Running

__all__ = [
    "FAST_CUSTOMERS",
    "MAX_WORKERS",
    "Ended",
    "Load",
    "RunReport",
    "Running",
    "carry_out",
    "load",
    "shard",
]
