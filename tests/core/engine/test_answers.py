"""What a Concrete may answer, when, and from where; and what happens when it does not."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

import bb_core as bb
from bb_core import errors, steps
from tests.support import AVERAGING, Averaging, Mean, Weight, peer

SECOND = 10**9


class Ask(bb.Module):
    """One op that may answer later, and one behind it."""

    model = bb.ModelSlot()

    def body(self, g: bb.Graph) -> None:
        x = g.input("x", bb.f32[1])
        loss, grad = self.model.loss_grad(g, x, x)
        g.output("loss", loss)
        g.output("grad", grad)


@bb.concrete("tests.Scripted")
class Scripted(bb.roles.Model):
    """Answers as `script` says."""

    script: Callable[[bb.Context], Any]
    kept: Any = None

    def loss_grad(self, ctx: bb.Context, prediction: bb.Tensor, labels: bb.Tensor) -> tuple[bb.Tensor, bb.Tensor]:
        return type(self).script(ctx)  # type: ignore[no-any-return]


def ask(script: Callable[[bb.Context], Any], **options: Any) -> bb.Node:
    """A Node that has been asked once, and not yet polled."""
    Scripted.script = staticmethod(script)  # type: ignore[assignment]
    artefact = bb.Compiler().bind({"model": Scripted}).compile(Ask())
    node = bb.install(peer(0), [], artefact, ["Ask"], options=bb.NodeConfig(**options))
    node.invoke("Ask", {"x": np.ones(1, np.float32)}, 0)
    return node


def values(found: list[Any]) -> dict[str, float]:
    return {s.port: float(s.value.sum()) for s in found if isinstance(s, steps.AppEvent)}


BOTH = (np.ones(1, np.float32), np.full(2, 2, np.float32))


def test_answer_now() -> None:
    assert values(ask(lambda ctx: BOTH).poll(0).steps) == {"loss": 1.0, "grad": 4.0}


def test_answer_later_with_several_outputs() -> None:
    kept: list[bb.Later] = []
    node = ask(lambda ctx: (kept.append(ctx.later()), kept[0])[1])
    result = node.poll(0)
    assert result.steps == []
    assert not node.is_idle
    kept[0].complete(*BOTH)
    kept[0].complete(*BOTH)  # the second answer counts for nothing
    assert values(node.poll(1).steps) == {"loss": 1.0, "grad": 4.0}
    assert node.is_idle


def test_answer_from_another_thread_wakes_the_host() -> None:
    woken = threading.Event()
    kept: list[bb.Later] = []
    node = ask(lambda ctx: (kept.append(ctx.later()), kept[0])[1], wake=woken.set)
    node.poll(0)
    thread = threading.Thread(target=lambda: kept[0].complete(*BOTH))
    thread.start()
    thread.join()
    assert woken.is_set()
    assert values(node.poll(1).steps) == {"loss": 1.0, "grad": 4.0}


def test_a_later_may_be_answered_before_it_is_returned() -> None:
    def at_once(ctx: bb.Context) -> Any:
        later = ctx.later()
        later.complete(*BOTH)
        return later

    assert values(ask(at_once).poll(0).steps) == {"loss": 1.0, "grad": 4.0}


def test_a_later_that_is_never_answered_fails_at_its_deadline() -> None:
    node = ask(lambda ctx: ctx.later(deadline=5 * SECOND))
    result = node.poll(0)
    assert result.next_wakeup == 5 * SECOND
    assert "deadline of LossGrad" in node.explain_wakeup()
    assert node.poll(5 * SECOND - 1).steps == []
    (failed,) = node.poll(5 * SECOND).steps
    assert isinstance(failed.error, errors.DeadlinePassed)
    assert "test_answers.py:" in failed.where
    assert node.is_idle


def test_an_answered_later_leaves_no_timer() -> None:
    kept: list[bb.Later] = []
    node = ask(lambda ctx: (kept.append(ctx.later(deadline=SECOND)), kept[0])[1])
    node.poll(0)
    kept[0].complete(*BOTH)
    assert node.poll(1).next_wakeup is None


def test_a_failed_later_says_why() -> None:
    kept: list[bb.Later] = []
    node = ask(lambda ctx: (kept.append(ctx.later()), kept[0])[1])
    node.poll(0)
    kept[0].fail(OSError("the disk is full"))
    (failed,) = node.poll(1).steps
    assert isinstance(failed, steps.OpFailed)
    assert "the disk is full" in str(failed.error)


def test_on_deadline_may_answer_in_its_place() -> None:
    kept: list[bb.Later] = []

    def script(ctx: bb.Context) -> Any:
        kept.append(ctx.later(SECOND, lambda inner: kept[0].complete(*BOTH)))
        return kept[0]

    node = ask(script)
    node.poll(0)
    assert values(node.poll(SECOND).steps) == {"loss": 1.0, "grad": 4.0}


@pytest.mark.parametrize(
    ("script", "says"),
    [
        (lambda ctx: BOTH[0], "expected: a tuple of 2 values"),
        (lambda ctx: BOTH[:1], "returned 1 values"),
        (lambda ctx: None, "NoneType"),
        (lambda ctx: ("text", BOTH[1]), "returned a str"),
        (lambda ctx: (BOTH[0], bb.Record()), "returned a Record"),
        (lambda ctx: 1 / 0, "ZeroDivisionError: division by zero"),
        (lambda ctx: ctx.dependency("compute"), "@bb.depends"),
    ],
)
def test_a_broken_answer_becomes_a_step(script: Callable[[bb.Context], Any], says: str) -> None:
    (failed,) = ask(script).poll(0).steps
    assert isinstance(failed, steps.OpFailed)
    assert isinstance(failed.error, errors.RoleError)
    assert says in str(failed.error)
    assert (failed.op, failed.slot) == ("LossGrad", "model")


def test_numbers_become_tensors() -> None:
    assert values(ask(lambda ctx: (0.5, np.float32(2))).poll(0).steps) == {"loss": 0.5, "grad": 2.0}


def test_a_later_of_another_op_is_refused() -> None:
    kept: list[bb.Later] = []

    def script(ctx: bb.Context) -> Any:
        kept.append(ctx.later())
        return kept[0]

    node = ask(script)
    node.poll(0)
    kept[0].complete(*BOTH)
    node.poll(0)
    node.invoke("Ask", {"x": np.ones(1, np.float32)}, 1)
    found = node.poll(1).steps
    assert "did not make it" in str(found[0].error)


def leave(*_: object) -> None:
    raise SystemExit(3)


@pytest.mark.parametrize("name", ["on_deadline", "on_cancel"])
def test_a_concrete_that_exits_when_its_deadline_passes_is_a_step(name: str) -> None:
    node = ask(lambda ctx: ctx.later(SECOND, **{name: leave}))
    node.poll(0)
    assert {type(step) for step in node.poll(SECOND).steps} == {steps.OpFailed}
    assert node.is_idle


def test_whoever_interrupts_the_host_interrupts_the_poll() -> None:
    def script(ctx: bb.Context) -> Any:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        ask(script).poll(0)


@bb.concrete("tests.Vague")
class Vague(Mean):
    """Cannot say who has not answered."""

    def collect(
        self, ctx: bb.Context, cohort: Any, quorum: Any = None, minimum: Any = None, deadline: Any = None
    ) -> Any:
        return ctx.later(deadline, missing=lambda: [peer(1 // 0)])


def test_a_later_that_cannot_say_whom_it_waits_for_fails_once_and_leaves_no_open_frame() -> None:
    node = bb.install(
        peer(0), [], bb.Compiler().bind({**AVERAGING, "aggregator": Vague}).compile(Averaging()), ["Averaging"]
    )
    node.add_peer(peer(1), peer_class="client")
    node.invoke("Averaging", {"round": bb.TRIGGER}, 0)
    found = [*node.poll(0).steps, *node.poll(1000 * SECOND).steps]
    assert [step.op for step in found if isinstance(step, steps.OpFailed)] == ["Collect"]
    assert node.stats()["frames"] == node.stats()["laters"] == 0


# --- exclusive slots --------------------------------------------------------------------------------------------------


class Both(bb.Module):
    """Load, then train: a Frame must not find another's parameters in between."""

    model = bb.ModelSlot()

    def body(self, g: bb.Graph) -> None:
        x = g.input("x", bb.f32[1])
        loaded = self.model.load_parameters(g, x)
        waited = self.model.zero_grad(g, after=loaded)
        g.output("y", self.model.params(g, after=waited))


@bb.concrete("tests.Slow")
class Slow(Weight):
    """Answers `zero_grad` later."""

    @dataclass(frozen=True, slots=True)
    class Config:
        start: float = 0.0

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        self.open: list[bb.Later] = []

    def zero_grad(self, ctx: bb.Context) -> None:
        self.open.append(ctx.later())
        return self.open[-1]  # type: ignore[return-value]


def test_a_frame_holds_its_model_until_its_own_later_is_answered() -> None:
    artefact = bb.Compiler().bind({"model": Slow}).compile(Both())
    node = bb.install(peer(0), [], artefact, ["Both"])
    for value in (1, 2, 3):
        node.invoke("Both", {"x": np.full(1, value, np.float32)}, 0)
    model = node.component("model")
    given: list[float] = []
    for turn in (1, 2, 3):
        node.poll(0)
        assert model.log == [entry for n in range(1, turn) for entry in (f"load {n}", "params")] + [f"load {turn}"]
        model.open[-1].complete()
        given += [float(s.value[0]) for s in node.poll(0).steps]
    assert given == [1.0, 2.0, 3.0]
    assert node.is_idle
