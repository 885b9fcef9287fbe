"""What one check of `dosetwin doctor` found."""

from __future__ import annotations

from typing import Literal

import msgspec


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """What one check found; a remedy where it is not ok."""

    check: str
    status: Literal["ok", "warn", "fail"]
    found: str
    remedy: str = ""
