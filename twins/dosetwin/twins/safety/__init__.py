"""Safety: the independent judge between a decision and a command."""

from dosetwin.twins.safety.supervisor import Situation, Verdict, review

__all__ = ["Situation", "Verdict", "review"]
