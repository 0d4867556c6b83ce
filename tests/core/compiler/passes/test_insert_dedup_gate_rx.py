"""The gate 'dedup' on every Recv."""

from __future__ import annotations

from tests.core.compiler.passes.programs import Careful
from tests.core.compiler.passes.stage import stamped_by
from tests.support import Everyone


def test_it_stands_where_it_should_and_nowhere_else() -> None:
    found = stamped_by("insert_dedup_gate_rx", Careful(), {"cohort": Everyone})
    assert found == [("Recv", {"dedup"})] * 2
