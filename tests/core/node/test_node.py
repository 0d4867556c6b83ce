"""One Node from outside: install, invoke, receive, poll; and every way of using it wrongly."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
import pytest

import bb_core as bb
from bb_core import errors, steps
from bb_core.testing import Loopback
from tests.support import AVERAGING, Averaging, NumpyBackend, Weight, bring_up, of_kind, peer


class Sum(bb.Module):
    backend = bb.BackendSlot()

    def body(self, g: bb.Graph) -> None:
        x, y = g.input("x", bb.f32[2]), g.input("y", bb.f32[2])
        g.output("z", x + y * 2.0)


X, Y = np.ones(2, np.float32), np.full(2, 3, np.float32)


def summing(**options: Any) -> bb.Node:
    artefact = bb.Compiler().bind({"backend": NumpyBackend}).compile(Sum())
    return bb.install(peer(0), [], artefact, ["Sum"], options=bb.NodeConfig(**options))


def test_invoke_and_poll() -> None:
    node = summing()
    exec_id = node.invoke("Sum", {"x": X, "y": Y}, 0)
    result = node.poll(0)
    (event,) = result.steps
    assert (event.target, event.port, event.exec_id) == ("Sum", "z", exec_id)
    np.testing.assert_array_equal(event.value, [7, 7])
    assert (result.next_wakeup, result.more) == (None, False)


def test_a_value_is_frozen_when_it_is_written() -> None:
    node = summing()
    node.invoke("Sum", {"x": X, "y": Y}, 0)
    (event,) = node.poll(0).steps
    with pytest.raises(ValueError, match="read-only"):
        event.value[0] = 1


def test_the_budget_stops_a_poll_and_nothing_is_lost() -> None:
    node = summing(op_budget=1)
    node.invoke("Sum", {"x": X, "y": Y}, 0)
    seen: list[Any] = []
    for _ in range(10):
        result = node.poll(0)
        seen += result.steps
        if not result.more:
            break
    assert [type(s).__name__ for s in seen if not isinstance(s, steps.BudgetSpent)] == ["AppEvent"]
    assert any(isinstance(s, steps.BudgetSpent) for s in seen)


def test_an_input_that_is_not_given_leaves_its_readers_out() -> None:
    node = summing()
    node.invoke("Sum", {"x": X}, 0)
    assert node.poll(0).steps == []
    assert node.is_idle


def test_the_profile_counts_with_the_clock_that_it_is_given() -> None:
    ticks = iter(range(10**6))
    node = summing(profile=lambda: next(ticks))
    node.invoke("Sum", {"x": X, "y": Y}, 0)
    node.poll(0)
    assert node.profile()["backend", "Mul"] == (1, 1)


@pytest.mark.parametrize(
    ("attempt", "error", "says"),
    [
        (lambda n: n.invoke("Summ", {"x": X}, 0), errors.UnknownModule, "'Sum'"),
        (lambda n: n.invoke("Sum", {"w": X}, 0), errors.UnknownInput, "known: x, y"),
        (lambda n: n.invoke("Sum", {"x": 1.0}, 0), errors.UnknownInput, "float"),
        (lambda n: n.invoke("Sum", {}, 0), errors.UnknownInput, "'x'"),
        (lambda n: n.component("model"), errors.UnknownModule, "backend"),
        (lambda n: bb.NodeConfig(op_budget=0), errors.UsageError, "at least 1"),
    ],
)
def test_misuse_raises_at_once_and_changes_nothing(attempt: Callable[[bb.Node], Any], error: Any, says: str) -> None:
    node = summing()
    with pytest.raises(error) as caught:
        attempt(node)
    assert says in str(caught.value)
    assert node.is_idle


def _changed() -> onnx.ModelProto:
    artefact = bb.Compiler().bind({"backend": NumpyBackend}).compile(Sum())
    artefact.functions[0].node[1].op_type = "Sub"
    return artefact


def install(
    artefact: Any = None, targets: tuple[str, ...] = ("Averaging@client",), config: Any = None, **compile_options: Any
) -> bb.Node:
    bindings = {k: v for k, v in AVERAGING.items() if k not in compile_options.get("late", ())}
    ready = artefact or bb.Compiler().bind(bindings).compile(Averaging(), **compile_options)
    return bb.install(peer(1), [], ready, targets, config)


@pytest.mark.parametrize(
    ("attempt", "error", "says"),
    [
        (lambda: install(b"no protobuf"), errors.InstallError, "no ONNX model"),
        (lambda: install(Averaging().build()), errors.InstallError, "not compiled"),
        (lambda: install(_changed()), errors.InstallError, "changed after it was compiled"),
        (lambda: install(targets=()), errors.UnknownTarget, "Averaging@client"),
        (lambda: install(targets=("client",)), errors.UnknownTarget, "Averaging@client"),
        (lambda: install(config={"dat": {}}), errors.UnknownSlot, "did you mean 'data'"),
        (lambda: install(config={"data": {"number": 1}}), errors.ConfigError, "did you mean 'numbers'"),
        (lambda: install(late=["data"]), errors.UnboundSlot, "bb.use"),
        (lambda: install(late=["data"], config={"data": Weight}), errors.RoleMismatch, "Weight"),
        (lambda: install(config={"data": Weight}), errors.RoleMismatch, "tests.Numbers"),
    ],
)
def test_what_cannot_be_installed_says_why(attempt: Callable[[], Any], error: Any, says: str) -> None:
    with pytest.raises(error) as caught:
        attempt()
    assert says in str(caught.value)


def test_an_artefact_travels_as_bytes() -> None:
    data = bb.Compiler().bind(AVERAGING).compile(Averaging()).SerializeToString()
    assert bb.install(peer(1), [], data, ["Averaging@client"]).targets == ("Averaging@client",)


@bb.concrete("tests.LateWeight")
@bb.depends(data_source="data")
class LateWeight(Weight):
    """A Model that is bound at install only, and brings a dependency with it."""

    def params(self, ctx: bb.Context) -> bb.Tensor:
        batch, _, _ = ctx.dependency("data").next_batch(ctx)
        return np.asarray(batch[:1] * 100)


def test_a_late_concrete_reaches_its_dependencies() -> None:
    bindings = {k: v for k, v in AVERAGING.items() if k != "model"}
    artefact = bb.Compiler().bind(bindings).compile(Averaging(n=1), late=["model"])
    config = {"model": bb.use(LateWeight), "data": {"numbers": (2.0,)}}
    nodes = [bb.install(peer(i), [], artefact, [t], config) for i, t in enumerate(["Averaging", "Averaging@client"])]
    nodes[0].add_peer(peer(1), peer_class="client")
    loopback = Loopback(nodes)
    loopback.invoke(peer(0), "Averaging", {"round": bb.TRIGGER})
    loopback.run_until_quiet()
    assert [float(s.value[0]) for s in of_kind(loopback.seen, steps.AppEvent) if s.port == "params"] == [200.0]


# --- rubbish from outside ---------------------------------------------------------------------------------------------


def first_envelope() -> tuple[Loopback, bytes]:
    loopback = bring_up(Averaging(n=1), AVERAGING, 1)
    sent: list[bytes] = []
    loopback.intercept(lambda source, to, data: sent.append(data))
    loopback.invoke(peer(0), "Averaging", {"round": bb.TRIGGER})
    loopback.run(lambda: bool(sent))
    return loopback, sent[0]


def test_every_truncation_of_an_envelope_yields_a_step_and_the_node_goes_on() -> None:
    loopback, data = first_envelope()
    client = loopback.nodes[peer(1)]
    for length in range(len(data)):
        client.receive(data[:length], 0, source=peer(0))
        found = client.poll(0).steps
        assert found, f"{length} of {len(data)} bytes gave no Step"
        kinds = {type(s).__name__ for s in found}
        assert kinds <= {"EnvelopeRejected", "FillRejected", "SendEnvelope", "Dropped"}, (length, found)
    client.receive(data, 0, source=peer(0))
    assert client.poll(0).steps


def test_every_truncation_of_an_answer_yields_a_step_too() -> None:
    loopback = bring_up(Averaging(n=1), AVERAGING, 1)
    sent: list[bytes] = []
    loopback.intercept(lambda source, to, data: sent.append(data) if source == peer(1) else data)
    loopback.invoke(peer(0), "Averaging", {"round": bb.TRIGGER})
    loopback.run(lambda: bool(sent))
    coordinator = loopback.nodes[peer(0)]
    seen: list[Any] = []
    for length in range(len(sent[0])):
        coordinator.receive(sent[0][:length], loopback.now, source=peer(1))
        found = coordinator.poll(loopback.now).steps
        assert found, f"{length} of {len(sent[0])} bytes gave no Step"
        seen += found
    coordinator.receive(sent[0], loopback.now, source=peer(1))
    seen += coordinator.poll(loopback.now).steps
    assert sorted(s.port for s in seen if isinstance(s, steps.AppEvent)) == ["params", "training"]


def test_every_changed_byte_of_an_envelope_is_survived() -> None:
    loopback, data = first_envelope()
    client = loopback.nodes[peer(1)]
    for position in range(len(data)):
        changed = bytearray(data)
        changed[position] ^= 0xFF
        client.receive(bytes(changed), 0, source=peer(0))
        client.poll(0)
    assert client.is_idle


def test_another_senders_name_in_an_envelope_is_refused() -> None:
    loopback, data = first_envelope()
    client = loopback.nodes[peer(1)]
    client.receive(data, 0, source=peer(9))
    (rejected,) = client.poll(0).steps
    assert isinstance(rejected.error, errors.SourceMismatch)


def test_time_never_goes_back() -> None:
    node = summing()
    node.poll(100)
    node.invoke("Sum", {"x": X, "y": Y}, 50)
    assert node._engine.now == 100
