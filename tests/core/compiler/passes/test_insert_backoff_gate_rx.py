"""The gate 'backoff' on each Recv whose author asked for it."""

from __future__ import annotations

from tests.core.compiler.passes.programs import Careful
from tests.core.compiler.passes.stage import stamped_by
from tests.support import Everyone


def test_it_stands_where_it_should_and_nowhere_else() -> None:
    found = stamped_by("insert_backoff_gate_rx", Careful(), {"cohort": Everyone})
    assert found == [("Recv", {"backoff"})] * 1
