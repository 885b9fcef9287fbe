"""The page on the data format says what happens: its examples are run, its columns are the reader's."""

from __future__ import annotations

import doctest
import re
from pathlib import Path

import pytest

from dosetwin.twins.data.columns import ITEMS, SYNONYMS, UNUSED

PAGE = Path(__file__).parents[3] / "docs" / "data-format.md"


def test_the_examples_give_what_they_show(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    blocks = re.findall(r"^```pycon\n(.*?)^```", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    assert len(blocks) == 5
    test = doctest.DocTestParser().get_doctest("\n".join(blocks), {}, PAGE.name, str(PAGE), 0)
    said: list[str] = []
    results = doctest.DocTestRunner().run(test, out=said.append)
    assert results.attempted > 15
    assert results.failed == 0, "".join(said)


def test_every_column_is_in_the_table_with_its_other_names() -> None:
    rows = [line for line in PAGE.read_text().splitlines() if line.startswith("| `")]
    first = {name for row in rows for name in re.findall(r"`(\w+)`", row.split("|")[1])}
    assert set(ITEMS) <= first
    for item, names in SYNONYMS.items():
        row = next(row for row in rows if f"`{item}`" in row.split("|")[1])
        assert all(f"`{name}`" in row for name in names), item
    assert all(f"`{name}`" in PAGE.read_text() for name in UNUSED)
