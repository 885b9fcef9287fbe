"""Twins see event time only: no clock and no ambient chance anywhere in the room."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

TWINS = Path(__file__).parents[2] / "twins" / "dosetwin" / "twins"
CLOCKS = {
    f"{owner}.{name}"
    for owner in ("time", "datetime", "datetime.datetime", "date", "datetime.date")
    for name in ("now", "utcnow", "today", "time", "time_ns", "monotonic", "perf_counter")
}
SEEDED = ("default_rng", "SeedSequence", "Generator", "Philox", "PCG64")
CHANCE = {"uuid.uuid1", "uuid.uuid4", "os.urandom"}


def impurities(tree: ast.AST) -> Iterator[str]:
    """What reads a clock, or draws chance that no key or seed decided."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (f"import {name.name}" for name in node.names if name.name in {"random", "secrets"})
        elif isinstance(node, ast.ImportFrom) and node.module == "dosetwin.platform.clock":
            yield from (f"{name.name} of the clock" for name in node.names if name.name != "instant")
        elif isinstance(node, ast.Call):
            call = ast.unparse(node.func)
            if call in CLOCKS | CHANCE:
                yield f"line {node.lineno}: {call}()"
            elif call.startswith(("np.random.", "numpy.random.")):
                if call.endswith(SEEDED) and (node.args or node.keywords):
                    continue
                yield f"line {node.lineno}: {call}() without a seed"


@pytest.mark.parametrize("path", sorted(TWINS.rglob("*.py")), ids=lambda path: str(path.relative_to(TWINS)))
def test_no_clock_and_no_ambient_chance(path: Path) -> None:
    assert not list(impurities(ast.parse(path.read_text())))


@pytest.mark.parametrize(
    ("code", "found"),
    [
        ("from datetime import datetime\ndatetime.now()", 1),
        ("import time\ntime.time()", 1),
        ("import random", 1),
        ("from dosetwin.platform.clock import PlatformClock", 1),
        ("from dosetwin.platform.clock import instant", 0),
        ("import numpy as np\nnp.random.normal(0, 1)", 1),
        ("import jax\njax.random.normal(key)", 0),
        ("import numpy as np\nnp.random.default_rng()", 1),
        ("import numpy as np\nnp.random.default_rng(3)", 0),
        ("import numpy as np\nnp.random.Philox(key=3)", 0),
        ("import uuid\nuuid.uuid4()", 1),
    ],
)
def test_the_check_finds_what_it_is_for(code: str, found: int) -> None:
    assert len(list(impurities(ast.parse(code)))) == found
