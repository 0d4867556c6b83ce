"""The gate 'backoff' on each Send whose author asked for it."""

from __future__ import annotations

from tests.core.compiler.passes.programs import Careful
from tests.core.compiler.passes.stage import stamped_by
from tests.support import Everyone


def test_it_stands_where_it_should_and_nowhere_else() -> None:
    found = stamped_by("insert_backoff_gate_tx", Careful(), {"cohort": Everyone})
    assert found == [("Send", {"backoff"})] * 1
