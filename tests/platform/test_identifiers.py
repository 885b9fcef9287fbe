"""Our written-out uuid5 against the standard library's."""

from __future__ import annotations

import uuid

from hypothesis import given
from hypothesis import strategies as st

from dosetwin.platform.identifiers import identifier


@given(st.lists(st.text(), min_size=1, max_size=4))
def test_identifier_is_the_standard_uuid5(cause: list[str]) -> None:
    namespace = uuid.uuid5(uuid.NAMESPACE_URL, "urn:dosetwin")
    assert identifier(*cause) == str(uuid.uuid5(namespace, "|".join(cause)))
