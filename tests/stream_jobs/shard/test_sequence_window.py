"""The sequence window against a plain set of what was seen."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from dosetwin.stream_jobs.shard.patient import SEQUENCE_WINDOW, SequenceWindow


@given(st.lists(st.integers(0, 3 * SEQUENCE_WINDOW), max_size=200))
def test_admits_each_sequence_once(sequences: list[int]) -> None:
    window, seen, highest = SequenceWindow(), set[int](), -1
    for sequence in sequences:
        verdict = window.admit(sequence)
        if sequence <= highest - SEQUENCE_WINDOW:
            assert verdict == "too_late"
        else:
            assert verdict == ("duplicate" if sequence in seen else "new")
            seen.add(sequence)
        highest = max(highest, sequence)
        window = SequenceWindow.unpacked(*window.packed())
