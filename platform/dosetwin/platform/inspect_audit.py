"""`dosetwin inspect --audit`: verifies the hash chain of every partition of `audit`."""

from __future__ import annotations

from rich.console import Console

from dosetwin.platform.audit_chain import BrokenLink, verify
from dosetwin.platform.contracts import AuditRecord
from dosetwin.platform.settings import KafkaSettings, Settings
from dosetwin.platform.topic_reader import Record, read_to_end
from dosetwin.platform.topics import AUDIT


def verify_audit(kafka: KafkaSettings) -> dict[int, tuple[int, BrokenLink | None, int | None]]:
    """For each partition: how many records, its first broken link, and the offset of that record.

    A record that is no audit record, or says another partition than the one it is on, is a broken link.
    """
    kept: dict[int, list[Record]] = {partition: [] for partition in range(kafka.partitions)}
    for record in read_to_end(kafka, [AUDIT]):
        kept.setdefault(record.partition, []).append(record)
    return {partition: _verdict(partition, records) for partition, records in sorted(kept.items())}


def _verdict(partition: int, records: list[Record]) -> tuple[int, BrokenLink | None, int | None]:
    chain: list[AuditRecord] = []
    foreign: BrokenLink | None = None
    for position, record in enumerate(records):
        message = record.message
        if not isinstance(message, AuditRecord) or message.partition != partition:
            found = (
                f"partition {message.partition}" if isinstance(message, AuditRecord) else "no audit record"
            )
            foreign = BrokenLink(
                position=position, index=-1, reason=f"it holds {found}; expected one of partition {partition}"
            )
            break
        chain.append(message)
    broken = verify(chain) or foreign
    return len(records), broken, records[broken.position].offset if broken else None


def show_audit(settings: Settings) -> bool:
    """Print the verdict on each partition; whether every chain holds."""
    console = Console(highlight=False)
    with console.status("Reading the audit topic ..."):
        verdicts = verify_audit(settings.kafka)
    name = settings.kafka.topic(AUDIT.name)
    total = 0
    for partition, (count, broken, offset) in verdicts.items():
        total += count
        if broken is None:
            console.print(f"{name}/{partition}: {count} records, the chain holds")
        else:
            console.print(
                f"[bold red]{name}/{partition}: broken at offset {offset}[/] (record {broken.position} of "
                f"{count}, index {broken.index}): {broken.reason}"
            )
    faults = sum(broken is not None for _, broken, _ in verdicts.values())
    console.print(
        f"{total} records in {len(verdicts)} partitions: "
        + ("every link holds" if faults == 0 else f"[bold red]{faults} chains are broken[/]")
    )
    return faults == 0
