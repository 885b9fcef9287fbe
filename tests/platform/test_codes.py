from __future__ import annotations

import re
from pathlib import Path

from dosetwin.platform.codes import (
    CODES,
    RECALLED,
    SYSTEM_URI,
    UNCODED,
    codes_of,
    named,
    parse_code,
    unverified,
)
from dosetwin.platform.units import CANONICAL_UNITS, CONCENTRATION_UNITS, conversion

DOCUMENT = Path(__file__).parents[2] / "docs" / "codes.md"


def test_every_row_has_a_source_and_only_read_ones_are_verified() -> None:
    for row in CODES:
        assert row.source.strip(), row
        assert row.display.strip(), row
        assert row.system in SYSTEM_URI, row
        assert row.verified is (row.source != RECALLED), row


def test_a_code_names_one_thing() -> None:
    assert len({(row.system, row.code) for row in CODES}) == len(CODES)
    for row in CODES:
        assert named(row.system, row.code) is row
        assert parse_code(f"{row.system} {row.code}") is row
        assert row in codes_of(row.name, row.kind)
    assert parse_code("LOINC 1-1") is None
    assert parse_code("nothing") is None


def test_loinc_check_digits_hold() -> None:
    """LOINC's last digit is Luhn's (mod 10) of the number before the hyphen: a typing error shows."""
    for row in CODES:
        if row.system == "LOINC":
            number, check = row.code.split("-")
            assert _luhn(number) == int(check), row


def test_ieee_codes_are_context_free_numbers_of_their_partition() -> None:
    for row in CODES:
        if row.system == "IEEE 11073":
            partition = int(row.code) // 65536
            assert partition == (8 if row.kind == "device" else 2), row


def test_units_of_codes_fit_the_canonical_unit_of_what_they_name() -> None:
    for row in CODES:
        canonical = CONCENTRATION_UNITS.get(row.name) if row.kind == "quantity" else None
        canonical = canonical or CANONICAL_UNITS.get(row.name)
        if row.unit and canonical:
            assert conversion(row.name, row.unit, canonical).factor > 0


def test_the_document_lists_what_was_not_verified() -> None:
    text = DOCUMENT.read_text()
    listed = set(re.findall(r"^\| (LOINC|RxNorm|IEEE 11073) \| (\S+) \|", text, re.MULTILINE))
    assert listed == {(row.system, row.code) for row in unverified()}
    assert all(name in text for name in UNCODED)


def _luhn(number: str) -> int:
    total = 0
    for place, digit in enumerate(reversed(number)):
        doubled = int(digit) * (2 if place % 2 == 0 else 1)
        total += doubled - 9 if doubled > 9 else doubled
    return -total % 10
