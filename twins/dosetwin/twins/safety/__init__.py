"""Safety: the independent judge between a decision and a command."""

from dosetwin.twins.safety.limit_table import LimitTable
from dosetwin.twins.safety.overrides import Effective, Override, effective_limits
from dosetwin.twins.safety.situation import DrugState, GuardedReading, Situation
from dosetwin.twins.safety.supervisor import Verdict, review
from dosetwin.twins.safety.watch import Watch

__all__ = [
    "DrugState",
    "Effective",
    "GuardedReading",
    "LimitTable",
    "Override",
    "Situation",
    "Verdict",
    "Watch",
    "effective_limits",
    "review",
]
