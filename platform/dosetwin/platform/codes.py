"""Codes of quantities, drugs and devices: LOINC, RxNorm, IEEE 11073, one row each with its source.

The table is `codes.csv` beside this module. A row is `verified` where its number was read in the named
source; where it was only recalled, it is listed in docs/codes.md to be checked against the code system
itself before anybody relies on it.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable
from functools import cache
from importlib.resources import files
from types import MappingProxyType
from typing import Literal

import msgspec

System = Literal["LOINC", "RxNorm", "IEEE 11073"]
SYSTEM_URI: MappingProxyType[System, str] = MappingProxyType(
    {
        "LOINC": "http://loinc.org",
        "RxNorm": "http://www.nlm.nih.gov/research/umls/rxnorm",
        "IEEE 11073": "urn:iso:std:iso:11073:10101",
    }
)


class Code(msgspec.Struct, frozen=True):
    """One code of one thing. `kind`: a measured quantity, a drug as an ingredient, or a kind of device.

    `unit` is the UCUM unit that values of this code come in (LOINC tells mass from amount of substance).
    """

    kind: Literal["quantity", "drug", "device"]
    name: str
    system: System
    code: str
    display: str
    unit: str
    source: str
    verified: bool


RECALLED = "recalled, not read in a source: check before use"
"""The source of every row that is not verified."""

UNCODED: MappingProxyType[str, str] = MappingProxyType(
    {
        "remifentanil": "no LOINC code for its level was found",
        "battery": "a property of the device, not of the patient",
    }
)
"""Quantities that travel without a code, and why."""


def _read_table() -> tuple[Code, ...]:
    with files("dosetwin.platform").joinpath("codes.csv").open(encoding="utf-8") as file:
        rows = [row | {"verified": row["verified"] == "yes"} for row in csv.DictReader(file)]
    return msgspec.convert(tuple(rows), tuple[Code, ...])


CODES: tuple[Code, ...] = _read_table()


def codes_of(name: str, kind: str | None = None) -> tuple[Code, ...]:
    """Every code of a quantity, drug or kind of device, the preferred one of each system first."""
    return tuple(row for row in CODES if row.name == name and kind in (None, row.kind))


def named(system: System, code: str) -> Code | None:
    """The row of a code, None where the table has none."""
    return _by_code().get((system, code))


def parse_code(text: str) -> Code | None:
    """The row of a code as a sample carries it, for example "LOINC 20578-1"; None where unknown."""
    system, _, code = text.rpartition(" ")
    return _by_code().get((system, code))


def unverified(rows: Iterable[Code] = CODES) -> tuple[Code, ...]:
    """The rows to check against the code system before release."""
    return tuple(row for row in rows if not row.verified)


@cache
def _by_code() -> dict[tuple[str, str], Code]:
    return {(row.system, row.code): row for row in CODES}
