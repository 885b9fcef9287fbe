"""The life of a command: a fold over proposals, commands, acknowledgements and actions, in any order.

    proposed -> approved -> issued -> delivered -> applied | refused | expired
             -> turned down

The state is the set of messages seen; its stage is judged from the set, so order and repeats do not matter.
What a device says it did outranks what anybody else believes: applied, then refused, then expired.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import Any, Literal

import msgspec

from dosetwin.platform.codec import encode
from dosetwin.platform.contracts import (
    Acknowledgement,
    Action,
    ApproveProposal,
    Command,
    Proposal,
    RefuseProposal,
)

Stage = Literal[
    "unknown", "proposed", "approved", "turned down", "issued", "delivered", "applied", "refused", "expired"
]
FINAL: tuple[Stage, ...] = ("turned down", "applied", "refused", "expired")
"""The stages after which nothing more is awaited."""
WATCHDOG = "watchdog"

Message = Proposal | Command | Acknowledgement | Action


class CommandLife(msgspec.Struct, frozen=True, kw_only=True):
    """What was seen of one command, and of the proposal it grew from, where there was one."""

    patient: str
    proposal: Proposal | None = None
    command: Command | None = None
    acknowledgements: tuple[Acknowledgement, ...] = ()
    approvals: tuple[Action, ...] = ()
    refusals: tuple[Action, ...] = ()

    @property
    def id(self) -> str:
        """The command's id; the proposal's while there is no command; empty where neither was seen."""
        if self.command is not None:
            return self.command.id
        return self.proposal.id if self.proposal is not None else ""

    @property
    def stage(self) -> Stage:
        """How far it has come, by what was said. A repeat refused as `repeated` says nothing new."""
        said = {item.status for item in self.acknowledgements}
        for final in ("applied", "refused", "expired"):
            if final in said:
                return final
        if "delivered" in said:
            return "delivered"
        if self.command is not None:
            return "issued"
        if self.refusals:
            return "turned down"
        if self.approvals:
            return "approved"
        return "proposed" if self.proposal is not None else "unknown"

    @property
    def is_final(self) -> bool:
        """Whether nothing more is awaited."""
        return self.stage in FINAL

    @property
    def expires_at(self) -> datetime | None:
        """When the command, or the proposal while there is none, ends by itself."""
        holder = self.command or self.proposal
        return holder.expires_at if holder is not None else None

    def is_open(self, at: datetime) -> bool:
        """Whether somebody or something still has to answer.

        A proposal is over at its expiry. A command is not: until the device or the watchdog says what
        became of it, it may have been applied.
        """
        if self.is_final or self.stage == "unknown":
            return False
        if self.command is None and self.proposal is not None:
            return at < self.proposal.expires_at
        return True

    @property
    def answer(self) -> Acknowledgement | None:
        """The acknowledgement that decides the stage: the first of that status, by time."""
        return next((item for item in self.acknowledgements if item.status == self.stage), None)

    @property
    def applications(self) -> int:
        """How many times a device really acted on it; more than one is a doubled command."""
        return len({item.application_id for item in self.acknowledgements if item.status == "applied"})

    def merge(self, other: CommandLife) -> CommandLife:
        """The life that has seen what either has."""
        return CommandLife(
            patient=self.patient or other.patient,
            proposal=_first(self.proposal, other.proposal),
            command=_first(self.command, other.command),
            acknowledgements=_union(self.acknowledgements, other.acknowledgements),
            approvals=_union(self.approvals, other.approvals),
            refusals=_union(self.refusals, other.refusals),
        )


class CommandBook:
    """Many lives, kept up as messages come in whatever order; found by command id or by proposal id."""

    def __init__(self, messages: Iterable[Message] = ()) -> None:
        self._lives: dict[str, CommandLife] = {}
        self._root: dict[str, str] = {}
        for message in messages:
            self.add(message)

    def add(self, message: Message) -> CommandLife | None:
        """Take one message; the life it belongs to. None for an action about something else."""
        match message:
            case Proposal():
                return self._join(message.id, CommandLife(patient=message.patient, proposal=message))
            case Command():
                root = message.proposal_id or message.id
                if root != message.id:
                    self._root[message.id] = root
                    orphan = self._lives.pop(message.id, None)
                    if orphan is not None:
                        self._join(root, orphan)
                return self._join(root, CommandLife(patient=message.patient, command=message))
            case Acknowledgement():
                life = CommandLife(patient=message.patient, acknowledgements=(message,))
                return self._join(self._root.get(message.command_id, message.command_id), life)
            case Action(act=ApproveProposal(proposal_id=proposal)):
                return self._join(proposal, CommandLife(patient=message.patient, approvals=(message,)))
            case Action(act=RefuseProposal(proposal_id=proposal)):
                return self._join(proposal, CommandLife(patient=message.patient, refusals=(message,)))
            case _:
                return None

    def get(self, command_or_proposal: str) -> CommandLife | None:
        """The life of a command or a proposal, None where nothing of it was seen."""
        return self._lives.get(self._root.get(command_or_proposal, command_or_proposal))

    def __iter__(self) -> Iterator[CommandLife]:
        return iter(self._lives.values())

    def __len__(self) -> int:
        return len(self._lives)

    def open_lives(self, at: datetime, patient: str | None = None) -> list[CommandLife]:
        """The open ones (of one patient, or of all), those that expire first in front."""
        found = [
            life
            for life in self._lives.values()
            if (patient is None or life.patient == patient) and life.is_open(at)
        ]
        return sorted(found, key=lambda life: (life.expires_at or at, life.id))

    def forget_final(self, older_than: datetime) -> int:
        """Drop finished lives that expired before `older_than`; how many."""
        doomed = [
            (root, life)
            for root, life in self._lives.items()
            if life.expires_at is not None and life.expires_at < older_than and not life.is_open(older_than)
        ]
        for root, life in doomed:
            del self._lives[root]
            if life.command is not None:
                self._root.pop(life.command.id, None)
        return len(doomed)

    def _join(self, root: str, life: CommandLife) -> CommandLife:
        before = self._lives.get(root)
        self._lives[root] = joined = life if before is None else before.merge(life)
        return joined


def _first(left: Any, right: Any) -> Any:
    """One of two that should be the same; the lesser bytes where they are not, so that order is nothing."""
    if left is None or right is None:
        return left if right is None else right
    return min(left, right, key=encode)


def _union(left: tuple[Any, ...], right: tuple[Any, ...]) -> tuple[Any, ...]:
    new = tuple(item for item in right if item not in left)
    return tuple(sorted((*left, *new), key=lambda item: (item.at, encode(item)))) if new else left
