"""`dosetwin topics`: declares the topics, or checks them, and prints a table."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table

from dosetwin.platform.settings import KafkaSettings
from dosetwin.platform.topic_admin import declare_topics, topic_states
from dosetwin.platform.topics import TOPICS


def show_topics(kafka: KafkaSettings, *, change: bool) -> bool:
    """Declare (or only look at) the topics and print how they stand; whether all are as declared now."""
    states = declare_topics(kafka) if change else topic_states(kafka)
    table = Table(title=f"Topics at {kafka.bootstrap}", title_justify="left")
    console = Console(highlight=False)
    wide = console.width >= 150
    for heading in ("topic", "partitions", "clean-up"):
        table.add_column(heading, no_wrap=True)
    for heading in ("state", "keyed by", "what") if wide else ("state",):
        table.add_column(heading, overflow="fold")
    good = True
    for topic, state in zip(TOPICS, states, strict=True):
        words: str = state.state
        if words not in ("missing", "differs") and state.partitions != kafka.partitions:
            words = f"differs: {state.partitions} partitions, the settings say {kafka.partitions}"
        if state.state == "differs":
            words += ": " + "; ".join(
                f"{option} is {found}, declared {declared}"
                for option, (found, declared) in state.differences.items()
            )
        good = good and not words.startswith(("missing", "differs"))
        row = (state.name, str(state.partitions), topic.cleanup, words, topic.key, topic.summary)
        table.add_row(*row[: len(table.columns)])
    console.print(table)
    return good
