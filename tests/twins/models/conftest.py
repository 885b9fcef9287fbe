"""Structural models are tested as they run in the library: in double precision."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from dosetwin.twins.precision import double_precision


@pytest.fixture
def double() -> Iterator[None]:
    """Everything in float64; with pytest.mark.usefixtures."""
    with double_precision():
        yield
