"""Every value that crosses has a destination that both sides work out alone."""

from __future__ import annotations

import sys

import pytest

from bb_core import errors, keys
from bb_core.ids import site_id
from bb_core.ir.proto import attribute
from tests.core.compiler.passes.programs import GREETING, Greeting
from tests.core.compiler.passes.stage import alone, before, run
from tests.support import AVERAGING, Averaging


def test_sender_and_receiver_agree() -> None:
    for module, bindings in ((Averaging(), AVERAGING), (Greeting(), GREETING)):
        model = alone("analyze_wire_edges", module, bindings)
        sites: dict[tuple[bool, str], set[tuple[int, ...]]] = {}
        for function in model.functions:
            for node in function.node:
                if node.op_type in ("Send", "Recv"):
                    key = ("#" in function.name, attribute(node, keys.EDGE))
                    sites.setdefault(key, set()).add(attribute(node, keys.SITES))
        assert all(len(found) == 1 for found in sites.values())


def test_a_site_is_the_hash_of_function_and_port() -> None:
    model = alone("analyze_wire_edges", Greeting(), GREETING)
    for function in model.functions:
        for node in function.node:
            if node.op_type == "Recv":
                ports, sites = attribute(node, keys.PORTS), attribute(node, keys.SITES)
                assert [s & (1 << 64) - 1 for s in sites] == [site_id(function.name, p) for p in ports]


def test_two_sites_of_one_id_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    model, state = before("analyze_wire_edges", Averaging(), AVERAGING)
    module = sys.modules["bb_core.compiler.passes.analyze_wire_edges"]
    monkeypatch.setattr(module, "site_id", lambda function, port: 7)
    run("analyze_wire_edges", model, state)
    with pytest.raises(errors.CompileError, match="have one id, 0x7"):
        state.raise_errors("analyze_wire_edges")
