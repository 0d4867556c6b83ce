"""What the protocol lint finds, and what it leaves in peace. The cases of docs/errors show each finding's line."""

from __future__ import annotations

import runpy
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import bb_core as bb
from bb_core import errors
from bb_core.registry import use
from bb_plugins.recipes.federated_averaging import FederatedAveraging
from tests.core.compiler.passes import programs
from tests.support import AVERAGING, Averaging, Everyone, Mean, Numbers, Weight

ROOT = Path(__file__).parents[3]


def findings(module: bb.Module, bindings: dict[str, Any]) -> list[str]:
    """The warnings of a program, by class."""
    compiler = bb.Compiler().bind(bindings)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        compiler.compile(module)
    return [type(w).__name__ for w in compiler.warnings]


FINE = [
    (Averaging(), AVERAGING),
    (programs.Asking(), programs.ASKING),
    (programs.Gossip(), programs.GOSSIP),
    (programs.Greeting(), programs.GREETING),
    (programs.Ordered(), programs.ORDERED),
]


@pytest.mark.parametrize(("module", "bindings"), FINE, ids=[m.name for m, _ in FINE])
def test_sound_programs_are_left_in_peace(module: bb.Module, bindings: dict[str, Any]) -> None:
    assert findings(module, bindings) == []


def test_the_recipe_is_left_in_peace() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model = FederatedAveraging(5).build()
        slots = [p.key.rpartition("slot_role.")[2] for p in model.metadata_props if "slot_role." in p.key]
        bb.Compiler().compile(model, late=slots)


class Round(bb.Module):
    """A round whose collection is given by the test."""

    cohort = bb.PeerSelectorSlot(peer_class="client")
    model = bb.ModelSlot()
    data = bb.DataSourceSlot()
    aggregator = bb.AggregatorSlot()

    def __init__(self, collect: Callable[..., Any]) -> None:
        self.collect = collect

    def body(self, g: bb.Graph) -> None:
        go = g.input("go", bb.types.TRIGGER)
        clients = self.cohort.sample(g, n=3, after=go)
        asked = g.send(go, to=clients)
        loss, stats = self.model.train_epochs(g, self.data, after=asked)
        update, update_stats = g.reply((self.model.params(g, after=loss), stats), to=asked)
        self.aggregator.contribute(g, update, update_stats)
        done = self.collect(self, g, clients, asked)
        g.output("params", self.aggregator.aggregate(g, after=done)[0])


def round_with(config: dict[str, Any], **options: Any) -> list[str]:
    def collect(self: Any, g: bb.Graph, clients: bb.Output, asked: Any) -> bb.Output:
        out: bb.Output = self.aggregator.collect(g, clients, after=asked.request, **options)
        return out

    bindings = {"cohort": Everyone, "model": Weight, "data": Numbers, "aggregator": use(Mean, **config)}
    return findings(Round(collect), bindings)


IMPOSSIBLE: list[tuple[dict[str, Any], dict[str, Any]]] = [
    ({}, {"quorum": 4}),
    ({}, {"minimum": 4}),
    ({}, {"quorum": 1, "minimum": 2}),
    ({"quorum": 4}, {}),
    ({"minimum": 5}, {}),
    ({"quorum": 1, "minimum": 2}, {}),
]


@pytest.mark.parametrize(("config", "options"), IMPOSSIBLE)
def test_a_quorum_that_cannot_be_is_an_error(config: dict[str, Any], options: dict[str, Any]) -> None:
    with pytest.raises(errors.ImpossibleQuorum, match=r"test_lint\.py:"):
        round_with(config, deadline="5s", **options)


POSSIBLE: list[tuple[dict[str, Any], dict[str, Any]]] = [
    ({}, {"quorum": 3, "minimum": 3}),
    ({"quorum": 9}, {"quorum": 2}),
    ({"quorum": 2, "minimum": 1}, {}),
]


@pytest.mark.parametrize(("config", "options"), POSSIBLE)
def test_one_that_can_be_is_none(config: dict[str, Any], options: dict[str, Any]) -> None:
    assert round_with(config, deadline="5s", **options) == []


def test_a_deadline_of_the_compilers_is_a_warning() -> None:
    assert round_with({}) == ["DefaultDeadline"]


def test_a_warning_can_be_made_an_error_and_silenced() -> None:
    case = runpy.run_path(str(ROOT / "docs" / "errors" / "cases" / "BB-C074.py"))
    with warnings.catch_warnings():
        warnings.simplefilter("error", errors.UnusedInput)
        with pytest.raises(errors.UnusedInput):
            case["wrong"]()
        warnings.simplefilter("ignore", errors.ProtocolWarning)
        case["wrong"]()


def test_an_echo_that_computes_nothing_needs_no_collection() -> None:
    class Echo(bb.Module):
        cohort = bb.PeerSelectorSlot(peer_class="client")

        def body(self, g: bb.Graph) -> None:
            x = g.input("x", bb.f32[2])
            asked = g.send(x, to=self.cohort.sample(g, n=3, after=x))
            g.output("back", g.reply(asked, to=asked))

    assert findings(Echo(), {"cohort": Everyone}) == []
