"""How the ops of a Concrete are found, called and answered for: its Roles, its outputs, its faults."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

import bb_core as bb
from bb_core import errors, steps
from bb_core import syscalls as s
from tests.support import Itself, NumpyBackend, Weight, peer

SECOND = 10**9
ONE = np.ones(1, np.float32)


def install(module: bb.Module, bindings: Mapping[str, Any], **options: Any) -> bb.Node:
    artefact = bb.Compiler().bind(bindings).compile(module)
    return bb.install(peer(0), [], artefact, [module.name], options=bb.NodeConfig(**options))


# --- Roles ------------------------------------------------------------------------------------------------------------


@bb.concrete("tests.Stream")
class Stream(bb.roles.DataSource, bb.roles.Index):
    """Two Roles on one class: batches, and a set of vectors."""

    @dataclass(frozen=True, slots=True)
    class Config:
        first: float = 0.0

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        self.page = config.first

    def next_batch(self, ctx: bb.Context) -> tuple[bb.Tensor, bb.Tensor, bb.Record]:
        self.page += 1
        return ONE * np.float32(self.page), np.zeros(1, np.int64), bb.Record(num_samples=1)

    def size(self, ctx: bb.Context) -> bb.Tensor:
        return np.asarray(-self.page, np.int64)


class Reading(bb.Module):
    """One class in two slots, for another Role in each."""

    data = bb.DataSourceSlot()
    index = bb.IndexSlot()

    def body(self, g: bb.Graph) -> None:
        go = g.input("go", bb.types.TRIGGER)
        batch, _, _ = self.data.next_batch(g, after=go)
        g.output("batch", batch)
        g.output("size", self.index.size(g, after=go))


def test_a_class_of_two_roles_serves_slots_of_both() -> None:
    node = install(Reading(), {"data": bb.use(Stream, first=10.0), "index": bb.use(Stream, first=20.0)})
    node.invoke("Reading", {"go": bb.TRIGGER}, 0)
    found = node.poll(0).steps
    assert {step.port: float(step.value.sum()) for step in found} == {"batch": 11.0, "size": -20.0}


# --- outputs ----------------------------------------------------------------------------------------------------------


@bb.concrete("tests.Splitting")
class Splitting(bb.roles.Backend):
    """One op of several outputs."""

    ops = frozenset({"Split"})

    def kernel(self, name: str, attributes: Mapping[str, Any]) -> Callable[..., Any]:
        return lambda x, *rest: tuple(np.split(x, 3))


class Thirds(bb.Module):
    """Splits a vector, and gives the parts in another order than that in which they come."""

    backend = bb.BackendSlot()

    def body(self, g: bb.Graph) -> None:
        first, second, third = self.backend.split(g, g.input("x", bb.f32[3]), n_outputs=3, num_outputs=3)
        g.output("c", third)
        g.output("a", first)
        g.output("b", second)


def test_an_op_of_a_backend_gives_all_its_outputs_each_in_its_place() -> None:
    node = install(Thirds(), {"backend": Splitting})
    node.invoke("Thirds", {"x": np.arange(3, dtype=np.float32)}, 0)
    assert {step.port: step.value.tolist() for step in node.poll(0).steps} == {"a": [0.0], "b": [1.0], "c": [2.0]}


# --- who tells --------------------------------------------------------------------------------------------------------


class Telling(bb.Module):
    """Tells the host something in every way, from three entries."""

    peers = bb.PeerSelectorSlot()

    def body(self, g: bb.Graph) -> None:
        x = g.input("x", bb.f32[1])
        there = g.send(x, to=self.peers.sample(g, n=1, after=x))
        for value, name in ((x, "invoked"), (there, "received"), (s.interval(g, period="1s"), "ticked")):
            g.output(f"{name}_output", value)
            s.app_emit(g, value, name=f"{name}_emitted")
            s.app_notify(g, s.on_trigger(g, value), name=f"{name}_notified")


def test_all_that_is_told_says_by_which_target_and_in_which_frame() -> None:
    node = install(Telling(), {"peers": Itself})
    invoked = [node.invoke("Telling", {"x": ONE}, 0) for _ in range(2)]
    found = list(node.poll(0).steps)
    for step in [step for step in found if isinstance(step, steps.SendEnvelope)]:
        node.receive(step.data, 0, source=peer(0))
    found += [*node.poll(0).steps, *node.poll(SECOND).steps]
    told = [step for step in found if isinstance(step, steps.AppEvent)]
    assert {step.target for step in told} == {"Telling"}
    frames: dict[int, set[str]] = {}
    for step in told:
        frames.setdefault(int(step.exec_id), set()).add(step.port)
    ways = [{f"{name}_output", f"{name}_emitted", f"{name}_notified"} for name in ("invoked", "received", "ticked")]
    assert list(frames) == [*invoked, 3, 4, 5]
    assert list(frames.values()) == [ways[0], ways[0], ways[1], ways[1], ways[2]]


# --- faults -----------------------------------------------------------------------------------------------------------


@bb.concrete("tests.Faulty")
class Faulty(Weight):
    """Raises what it is told to, at once or in its Later."""

    fault: BaseException | None = None
    is_late = False

    def forward(self, ctx: bb.Context, batch: bb.Tensor) -> bb.Tensor:
        if self.is_late:
            later = ctx.later()
            later.fail(self.fault or RuntimeError())
            return later  # type: ignore[return-value]
        if self.fault is not None:
            raise self.fault
        return batch


class Forwarding(bb.Module):
    """One op that may fail, and one beside it."""

    model = bb.ModelSlot()
    backend = bb.BackendSlot()

    def body(self, g: bb.Graph) -> None:
        x = g.input("x", bb.f32[1])
        g.output("y", self.model.forward(g, x))
        g.output("beside", self.backend.neg(g, x))


class Panic(BaseException):
    """What an extension in Rust raises when it panics (pyo3's PanicException) is no `Exception` either."""


FAULTS = [
    ValueError("no"), MemoryError("no"), RecursionError("no"), AssertionError("no"), SystemExit("no"), Panic("no"),
]  # fmt: skip


@pytest.mark.parametrize("is_late", [False, True])
@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: type(fault).__name__)
def test_whatever_a_concrete_raises_is_a_step_that_keeps_it_and_the_node_goes_on(
    fault: BaseException, is_late: bool
) -> None:
    node = install(Forwarding(), {"model": Faulty, "backend": NumpyBackend})
    model = node.component("model")
    model.fault, model.is_late = fault, is_late
    node.invoke("Forwarding", {"x": ONE}, 0)
    found = node.poll(0).steps
    (failed,) = [step for step in found if isinstance(step, steps.OpFailed)]
    assert isinstance(failed.error, errors.RoleError)
    assert failed.error.__cause__ is fault
    assert f"{type(fault).__name__}: no" in str(failed.error)
    assert (failed.op, failed.slot, failed.role) == ("Forward", "model", "model")
    assert [step.port for step in found if isinstance(step, steps.AppEvent)] == ["beside"]
    model.fault, model.is_late = None, False
    node.invoke("Forwarding", {"x": ONE}, 1)
    assert {step.port for step in node.poll(1).steps} == {"y", "beside"}
    assert node.is_idle


@pytest.mark.parametrize("is_late", [False, True])
def test_an_error_that_has_a_code_keeps_its_kind(is_late: bool) -> None:
    node = install(Forwarding(), {"model": Faulty, "backend": NumpyBackend})
    model = node.component("model")
    model.fault, model.is_late = errors.ContributionRefused("not now", expected="patience"), is_late
    node.invoke("Forwarding", {"x": ONE}, 0)
    (failed,) = [step for step in node.poll(0).steps if isinstance(step, steps.OpFailed)]
    assert failed.error is model.fault


@bb.concrete("tests.Unmade")
class Unmade(Faulty):
    """Cannot be constructed."""

    def __init__(self, config: Any) -> None:
        raise OSError("no such file")


def test_a_concrete_that_cannot_be_made_fails_the_install_and_says_why() -> None:
    with pytest.raises(errors.InstallError, match=r"Unmade for slot 'model'.*no such file"):
        install(Forwarding(), {"model": Unmade, "backend": NumpyBackend})
