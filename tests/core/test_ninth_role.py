"""A plugin adds a Role: Modules have slots of it, Concretes fill them, the kit checks them, like the eight."""

from __future__ import annotations

import sys
import types
from collections.abc import Iterator
from importlib.metadata import EntryPoint
from typing import Any

import numpy as np
import pytest

import bb_core as bb
from bb_core import plugins as door
from bb_core.errors import (
    DuplicateRegistration,
    InstallError,
    InvalidConcrete,
    NotConforming,
    RoleMismatch,
    UnknownRecorder,
)
from bb_core.ops.table import declare_role, op_table
from bb_core.plugins import installed_plugins
from bb_core.roles import ROLES
from bb_core.steps import AppEvent
from bb_core.testing import check_concrete, checks_of
from bb_core.testing.checks import checks, expect
from bb_core.testing.subject import Call, Subject, Tour
from bb_core.testing.traits import Traits


class Scheduler(bb.roles.Role):
    """Says how long to wait before the next round."""

    role = "ninth_scheduler"

    @bb.roles.op("Next", outputs="delay")
    def next(self, ctx: bb.Context, loss: bb.Tensor, *, most: int = 60) -> bb.Tensor:
        """Return seconds, at most `most`."""
        raise NotImplementedError


@bb.concrete("ninth.Doubling")
class Doubling(Scheduler):
    """Twice as long each time."""

    def __init__(self, config: Any) -> None:
        super().__init__(config)
        self.seconds = 1

    def snapshot(self) -> bb.State:
        return {"seconds": self.seconds}

    def restore(self, state: bb.State) -> None:
        self.seconds = state["seconds"]

    def next(self, ctx: bb.Context, loss: bb.Tensor, *, most: int = 60) -> bb.Tensor:
        found = min(self.seconds, most)
        self.seconds *= 2
        return np.asarray(found, np.int64)


@bb.concrete("ninth.Slow")
class Slow(Doubling):
    """Forgets its bound."""

    def next(self, ctx: bb.Context, loss: bb.Tensor, *, most: int = 60) -> bb.Tensor:
        return super().next(ctx, loss, most=10**9)


def tour(subject: Subject) -> Tour:
    for most in (60, 60, 1):
        yield Call("next", (np.ones((), np.float32),), {"most": most})


def never_longer_than_most(subject: Subject) -> None:
    """It never waits longer than it may."""
    stage = subject.stage()
    waits = [int(stage.do("next", np.ones((), np.float32), most=4)) for _ in range(5)]
    expect(max(waits) <= 4, f"most=4, and it waits {max(waits)}")


CHECKS = checks(never_longer_than_most, tours=True)
TRAITS = Traits


@pytest.fixture(autouse=True)
def plugin(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A package in memory, whose entry point is found beside those that are installed."""
    module = types.ModuleType("ninth_plugin")

    @bb.hookimpl
    def bb_register_roles(roles: Any) -> None:
        roles.add(Scheduler, checks=__name__)

    @bb.hookimpl
    def bb_register_concretes(registry: Any) -> None:
        registry.add("ninth.Doubling", f"{__name__}:Doubling", role="ninth_scheduler")

    vars(module).update(bb_register_roles=bb_register_roles, bb_register_concretes=bb_register_concretes)
    monkeypatch.setitem(sys.modules, "ninth_plugin", module)
    monkeypatch.setitem(sys.modules, __name__, sys.modules[__name__])
    found, ours = door.entry_points, EntryPoint("ninth", "ninth_plugin", "bytesandbrains")
    monkeypatch.setattr(door, "entry_points", lambda **options: [*found(**options), ours])
    installed_plugins.cache_clear()
    installed_plugins()
    yield
    installed_plugins.cache_clear()
    forget()


class Pacing(bb.Module):
    def __init__(self) -> None:
        self.most = 3

    pace = bb.slot_of(Scheduler)()

    def body(self, g: bb.Graph) -> None:
        g.output("delay", self.pace.next(g, g.input("loss", bb.f32[()]), most=self.most))


def forget() -> None:
    """Other tests know the eight alone."""
    ROLES.pop("ninth_scheduler", None)
    op_table.cache_clear()


forget()  # `slot_of` has declared it for this process


def run(times: int = 3) -> list[int]:
    artefact = bb.Compiler().bind({"pace": "ninth.Doubling"}).compile(Pacing())
    node = bb.install(bb.PeerId.from_int(0), [], artefact.SerializeToString(), ["Pacing"])
    for number in range(times):
        node.invoke("Pacing", {"loss": np.ones((), np.float32)}, number)
    return [int(step.value) for step in node.poll(times).steps if isinstance(step, AppEvent)]


def test_a_module_uses_it_like_the_eight() -> None:
    assert run() == [1, 2, 3]  # of 1, 2 and 4, at most 3


def test_the_plugin_is_listed_with_its_role() -> None:
    (status,) = [s for s in installed_plugins().statuses if s.name == "ninth"]
    assert (status.error, status.adds["roles"]) == ("", ("ninth_scheduler",))


def test_its_concretes_are_checked_by_its_own_checks_and_the_common_ones() -> None:
    names = {c.name for c in checks_of(Doubling)}
    assert {"ninth_scheduler-never_longer_than_most", "ninth_scheduler-snapshot_restores"} <= names
    assert {r.status for r in check_concrete(Doubling)} == {"passed"}
    with pytest.raises(NotConforming, match="breaks 1 of ") as caught:
        check_concrete(Slow)
    assert caught.value.fields["failed"] == ["ninth_scheduler-never_longer_than_most"]


def test_a_program_of_a_role_that_is_gone_names_it() -> None:
    program = Pacing()
    program.most = 17  # no other test has installed it
    artefact = bb.Compiler().bind({"pace": "ninth.Doubling"}).compile(program)
    forget()
    with pytest.raises(InstallError, match="the slot 'pace' is one of the Role 'ninth_scheduler'"):
        bb.install(bb.PeerId.from_int(0), [], artefact, ["Pacing"])


def test_another_role_does_not_fit_its_slot() -> None:
    with pytest.raises(RoleMismatch, match=r"known ninth_schedulers: ninth\.Doubling"):
        bb.Compiler().bind({"pace": "bytesandbrains.FedAvg"}).compile(Pacing())


def test_an_unknown_op_of_its_slot_gets_the_nearest() -> None:
    class Wrong(bb.Module):
        pace = bb.slot_of(Scheduler)()

        def body(self, g: bb.Graph) -> None:
            self.pace.nexxt(g, g.input("loss"))

    with pytest.raises(UnknownRecorder, match="did you mean 'next'"):
        Wrong().build()


def test_a_role_that_is_none_is_refused() -> None:
    class Nameless(bb.roles.Role):
        pass

    class Opless(bb.roles.Role):
        role = "ninth_opless"

    for role, message in ((Nameless, "declares no Role"), (Opless, "has no op"), (Doubling, "declares no Role")):
        with pytest.raises(InvalidConcrete, match=message):
            declare_role(role)


def test_a_name_that_is_taken_names_both_owners() -> None:
    class Codec(bb.roles.Role):
        role = "codec"

        @bb.roles.op("Squeeze")
        def squeeze(self, ctx: bb.Context) -> None: ...

    with pytest.raises(DuplicateRegistration, match=r"bytesandbrains and acme 1\.0"):
        declare_role(Codec, "acme 1.0")
