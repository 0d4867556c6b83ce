"""What is asked of every Concrete, whatever its Role."""

from __future__ import annotations

import dataclasses
import datetime as dt
import gc
import os
import random
import subprocess
import sys
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from bb_core.configs import encode_config, make_config
from bb_core.errors import BBError, InvalidConcrete, SnapshotError, SnapshotUnsupported
from bb_core.node.packing import Packer, unpack
from bb_core.plugins import installed_plugins
from bb_core.registry import check_class, name_of
from bb_core.roles.contract import Role, declares_role
from bb_core.roles.model import Model
from bb_core.testing.checks import checks, expect
from bb_core.testing.context import FakeLater
from bb_core.testing.subject import Outcome, Skip, Stage, Subject
from bb_core.testing.values import copied, misfit, same, short

# --- what it is -------------------------------------------------------------------------------------------------------


def has_a_stable_name(subject: Subject) -> None:
    """It has the dotted name that artefacts carry, and whoever registers that name means this class."""
    try:
        name = name_of(subject.cls)
        check_class(subject.cls)
    except InvalidConcrete as error:
        expect(False, str(error))
    package, _, own = name.partition(".")
    expect(package and own, f"the name is {name!r}; expected `package.Name`")
    entry = installed_plugins().registry.find(name)
    if entry is None:
        return
    found = installed_plugins().resolve(name)
    expect(
        (found.__module__, found.__qualname__) == (subject.cls.__module__, subject.cls.__qualname__),
        f"{entry.owner} registers {name!r} as {entry.target}, which is not this class",
    )
    fulfilled = [c.role for c in subject.cls.__mro__ if issubclass(c, Role) and declares_role(c)]
    expect(entry.role in fulfilled, f"{entry.owner} registers {name!r} as a {entry.role}; it is a {fulfilled}")


def is_documented(subject: Subject) -> None:
    """Its class says what it does."""
    expect((vars(subject.cls).get("__doc__") or "").strip(), f"class {subject.title} has no docstring")


def config_is_frozen(subject: Subject) -> None:
    """Its Config is a frozen dataclass (or it has none), so that Nodes can share it."""
    config = subject.cls.Config
    if config is Role.Config:
        return
    expect(dataclasses.is_dataclass(config), f"{subject.title}.Config is no dataclass")
    how: Any = vars(config)["__dataclass_params__"]
    expect(how.frozen, f"{subject.title}.Config can be changed: @dataclass(frozen=True)")


def config_round_trips(subject: Subject) -> None:
    """Its configuration, written to an artefact and read again, is the same."""
    if not subject.traits.portable_config:
        raise Skip("its configuration is given at install, never in an artefact")
    config = getattr(subject.make(), "config", None)
    if not dataclasses.is_dataclass(config):
        return
    try:
        again = make_config(subject.cls, encode_config(config, "slot"), "slot")
    except BBError as error:
        expect(False, f"{error}\nif it cannot stand in an artefact, declare portable_config=False")
    for f in dataclasses.fields(config):
        ours, theirs = getattr(config, f.name), getattr(again, f.name)
        expect(same(ours, theirs), f"the field {f.name!r} is {ours!r}, and comes back as {theirs!r}")


def import_is_light(subject: Subject) -> None:
    """Importing its module loads no heavy package and starts no thread."""
    module = subject.cls.__module__
    if module in ("__main__", "builtins") or "<locals>" in subject.cls.__qualname__:
        raise Skip("the class is not one that a module has")
    heavy = [name for name in subject.traits.heavy_imports if name != module.partition(".")[0]]
    program = (
        f"import sys, threading, importlib; importlib.import_module({module!r});"
        f"print(*[m for m in {heavy!r} if m in sys.modules]); print(threading.active_count())"
    )
    paths = os.pathsep.join(dict.fromkeys(p or os.getcwd() for p in sys.path))  # noqa: PTH109  # a search path is text
    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": paths},
    )
    if "ModuleNotFoundError" in done.stderr and repr(module) in done.stderr:
        raise Skip(f"{module} cannot be imported by its name alone")
    expect(done.returncode == 0, f"importing {module} fails:\n{done.stderr[-1500:]}")
    loaded, threads = done.stdout.splitlines()[-2:]
    expect(not loaded, f"importing {module} loads {loaded}; import it in the method that needs it first")
    expect(int(threads) == 1, f"importing {module} starts {int(threads) - 1} threads")


def constructor_does_no_work(subject: Subject) -> None:
    """Making one starts no thread, opens no file or socket, and reads no clock."""
    subject.make()  # what is loaded once for the process is not this instance's work
    opened: list[str] = []
    listening = [True]

    def audit(event: str, args: tuple[Any, ...]) -> None:
        if listening[0] and event in ("open", "socket.__new__", "subprocess.Popen") and _calls(subject):
            opened.append(f"{event} {args[0] if args else ''}")

    sys.addaudithook(audit)  # it stays for good; it is deaf from the end of this check
    before = threading.active_count()
    with _watched_clock(subject) as reads:
        subject.make()
    listening[0] = False
    expect(threading.active_count() <= before, "the constructor starts a thread")
    expect(not opened, f"the constructor opens: {opened[:3]}")
    expect(not reads, f"the constructor reads the clock: {sorted(set(reads))}")


# --- what its ops do --------------------------------------------------------------------------------------------------


def ops_run(subject: Subject) -> None:
    """Its ops can be called as a program might, and give as many outputs as they declare."""
    expect(not subject.broken, subject.broken)


def equal_seeds_give_equal_outputs(subject: Subject) -> None:
    """Equal seeds and inputs give equal outputs, to the last bit."""
    if not subject.traits.deterministic:
        raise Skip("it declares deterministic=False")
    if issubclass(subject.cls, Model) and not subject.cls.capabilities(subject.make().config).deterministic:
        raise Skip("its capabilities say deterministic=False")
    first, again = (_seeded(subject) for _ in range(2))
    _agree(first, again, "a second instance of the same seed")


def _seeded(subject: Subject) -> list[Outcome]:
    random.seed(0)  # global generators have a check of their own
    np.random.seed(0)
    return subject.play()


def inputs_are_not_changed(subject: Subject) -> None:
    """It leaves its inputs as they are, and takes read-only ones, which is what the engine gives."""
    for outcome in subject.play():
        for position, (given, kept) in enumerate(zip(outcome.inputs, outcome.call.inputs, strict=True)):
            expect(same(given, kept), f"{outcome.call.method} changes its input {position}: {short(given)}")

    try:
        subject.play(frozen_inputs=True)
    except Exception as error:  # a Concrete may raise anything
        expect(False, f"with read-only inputs it raises {type(error).__name__}: {error}")


def outputs_match_their_types(subject: Subject) -> None:
    """What its ops return is of the types that it declares."""
    for outcome in subject.play():
        spec = subject.specs.get(outcome.call.method)
        if spec is None or outcome.call.run is not None:
            continue
        dims: dict[str, int] = {}
        for port, value in zip(spec.inputs, outcome.call.inputs[len(spec.slots) :], strict=False):
            misfit(value, port, dims)
        outputs = outcome.outputs if len(spec.outputs) > 1 else (outcome.outputs,)
        for port, value in zip(spec.outputs, outputs, strict=True):
            wrong = misfit(value, port, dims)
            expect(not wrong, f"{outcome.call.method} returned {wrong} as {port.name!r}; it declares {port.type}")


def outputs_stay_as_they_are(subject: Subject) -> None:
    """An output does not change when later ops run: it is no view of what the Concrete goes on writing to."""
    kept: list[tuple[str, Any, Any]] = []

    def keep(stage: Stage, outcome: Outcome) -> None:
        kept.append((outcome.call.method, outcome.outputs, copied(outcome.outputs)))

    try:
        subject.play(after=keep, frozen_outputs=True)
    except Exception as error:  # a Concrete may raise anything
        expect(False, f"when its outputs are frozen, as the engine does, it raises {type(error).__name__}: {error}")
    for method, value, copy in kept:
        expect(same(value, copy), f"an output of {method} changed afterwards: {short(copy)} became {short(value)}")


def instances_share_nothing(subject: Subject) -> None:
    """Two instances hold no array or container in common, and an instance writes nothing to its class."""
    one, two = subject.make(), subject.make()
    ours = {id(v): name for name, v in _fields(one).items() if name != "config" and _is_mutable(v)}
    for name, value in _fields(two).items():
        shared = id(value) in ours and not _is_configured(value, one)
        expect(not shared, f"two instances share one {type(value).__name__}: {name!r}")
    own = [c for c in subject.cls.__mro__ if issubclass(c, Role) and not c.__module__.startswith("bb_core.roles")]
    before = {(c, n): copied(v) for c in own for n, v in vars(c).items() if type(v) in (dict, list, set)}
    subject.play()
    for (cls, name), value in before.items():
        now = vars(cls).get(name)
        expect(same(now, value), f"running changes the class attribute {cls.__name__}.{name}: {short(now)}")


def uses_no_global_randomness(subject: Subject) -> None:
    """It draws from `ctx.rng` alone, never from the generators that a whole process shares."""
    plain, numpy = random.getstate(), np.random.get_state(legacy=False)
    subject.play()
    expect(random.getstate() == plain, "it draws from the module `random`; use ctx.rng")
    now: Any = np.random.get_state(legacy=False)
    unchanged = same(dict(now["state"]), dict(numpy["state"])) and now["has_gauss"] == numpy["has_gauss"]
    expect(unchanged, "it draws from np.random's global generator; use ctx.rng")


def reads_no_clock(subject: Subject) -> None:
    """Its ops know the time from `ctx.now` alone, and never sleep."""
    stage = subject.stage()
    with _watched_clock(subject) as reads:
        subject.play(stage)
    expect(not reads, f"it calls {', '.join(sorted(set(reads)))}; use ctx.now and ctx.later(deadline=...)")


def keeps_no_context(subject: Subject) -> None:
    """It does not keep `ctx`, or its random numbers, after an op: they are the next op's then."""
    watched: list[tuple[str, str, weakref.ref[Any]]] = []

    def watch(stage: Stage, outcome: Outcome) -> None:
        method, ctx = outcome.call.method, outcome.ctx
        assert ctx is not None
        watched.append((method, "ctx", weakref.ref(ctx)))
        watched.append((method, "ctx.rng", weakref.ref(ctx.rng)))

    stage = subject.stage()
    subject.play(stage, after=watch)
    instance, stage = stage.instance, None  # type: ignore[assignment]  # deadlines that are over hold contexts too
    gc.collect()
    for method, what, ref in watched:
        expect(ref() is None, f"{method} keeps {what}; take from it what is needed")
    del instance


def laters_are_answered(subject: Subject) -> None:
    """A Later that an op makes is returned and answered, by its deadline at the latest; and can be cancelled."""
    promised: list[int] = []
    played = iter(range(10**9))

    def look(stage: Stage, outcome: Outcome) -> None:
        assert outcome.ctx is not None
        number = next(played)
        if outcome.later is not None:
            promised.append(number)
        method = outcome.call.method
        for later in outcome.ctx.laters:
            expect(later is outcome.later, f"{method} makes a Later and does not return it")
            expect(not later.is_open, f"{method} returns a Later that nobody answers; give it a deadline")

    subject.play(after=look)
    for number in promised:
        _cancel(subject, number)


def _cancel(subject: Subject, number: int) -> None:
    """Play up to one Call, and cancel the Later that it returns."""
    stage, tour, sent = subject.stage(), subject.tour(), None
    for at in range(number + 1):
        call = tour.send(sent)
        result = stage.start(call, stage.context(call))
        if at == number and isinstance(result, FakeLater):
            try:
                result.cancel()
            except Exception as error:  # a Concrete may raise anything
                expect(False, f"{call.method}: on_cancel raised {type(error).__name__}: {error}")
            return
        sent = copied(stage.settle(result))


def dependencies_are_used(subject: Subject) -> None:
    """What it declares by `@bb.depends`, its ops ask for."""
    stage = subject.stage()
    if not subject.cls.dependencies:
        return
    subject.play(stage)
    unused = sorted({slot for _, slot in subject.cls.dependencies} - stage.asked_for)
    expect(not unused, f"it declares the dependencies {unused}, and never asks for them")


# --- what it keeps ----------------------------------------------------------------------------------------------------


def snapshot_restores(subject: Subject) -> None:
    """At any moment a snapshot, sent through bytes, makes another instance that goes on just like this one."""
    whole, again = _seeded(subject), _seeded(subject)
    if not all(same(a.outputs, b.outputs) for a, b in zip(whole, again, strict=True)):
        raise Skip("it does not even do the same twice, see equal_seeds_give_equal_outputs")
    for cut in range(1, len(whole), 1 + len(whole) // _CUTS):

        def move(stage: Stage, number: int, cut: int = cut) -> None:
            if number == cut:
                blobs, packed = _packed(subject, stage.instance)
                stage.instance = subject.make()
                stage.instance.restore(unpack(packed, blobs))

        method = whole[cut].call.method
        try:
            random.seed(0)
            np.random.seed(0)
            moved = subject.play(before=move)
        except Skip:
            raise
        except Exception as error:  # a Concrete may raise anything
            expect(False, f"restored before {method}, it raises {type(error).__name__}: {error}")
        _agree(whole, moved, f"an instance that was restored before {method} (call {cut})")


_CUTS = 24  # a longer tour is cut at so many places, evenly


def snapshot_stays_as_it_is(subject: Subject) -> None:
    """What a snapshot holds does not change when later ops run."""
    kept: list[tuple[str, Any, bytes, dict[bytes, bytes]]] = []

    def keep(stage: Stage, outcome: Outcome) -> None:
        state = _snapshot(subject, stage.instance)
        packer = Packer()
        kept.append((outcome.call.method, state, packer.pack(dict(state)), packer.blobs))

    subject.play(after=keep)
    for method, state, packed, blobs in kept:
        packer = Packer()
        now = packer.pack(dict(state))
        expect((now, packer.blobs) == (packed, blobs), f"the snapshot after {method} changed when later ops ran; copy")


def _snapshot(subject: Subject, instance: Any) -> Any:
    if not subject.traits.snapshot:
        raise Skip("it declares snapshot=False")
    try:
        return instance.snapshot()
    except SnapshotUnsupported as error:
        expect(False, str(error))


def _packed(subject: Subject, instance: Any) -> tuple[dict[bytes, bytes], bytes]:
    packer = Packer()
    try:
        return packer.blobs, packer.pack(dict(_snapshot(subject, instance)))
    except SnapshotError as error:
        expect(False, f"the snapshot cannot be written: {error}")
        raise


# --- how it fails -----------------------------------------------------------------------------------------------------

TYPED = (BBError, ValueError, TypeError)


def errors_are_typed(subject: Subject) -> None:
    """What cannot be answered raises an error of ours, a ValueError or a TypeError; no accident such as IndexError."""
    for what, call in subject.bad_calls():
        stage = subject.stage()
        subject.play(stage)
        try:
            stage.call(call)
        except TYPED:
            continue
        except Exception as error:  # a Concrete may raise anything
            expect(False, f"{call.method} with {what} raises {type(error).__name__}: {error}")


def errors_change_nothing(subject: Subject) -> None:
    """An op that raises leaves the Concrete as it was before."""
    if not subject.traits.snapshot:
        raise Skip("it declares snapshot=False")
    for what, call in subject.bad_calls():
        stage = subject.stage()
        subject.play(stage)
        try:
            before = _packed(subject, stage.instance)
        except SnapshotUnsupported:
            raise Skip("it cannot be kept") from None
        try:
            stage.call(call)
        except Exception:  # which error is another check's question
            after = _packed(subject, stage.instance)
            expect(before == after, f"{call.method} with {what} raises, and has changed the Concrete")


# --- inside -----------------------------------------------------------------------------------------------------------


def _agree(first: list[Outcome], second: list[Outcome], who: str) -> None:
    for a, b in zip(first, second, strict=True):
        expect(
            same(a.outputs, b.outputs),
            f"{a.call.method} gave {short(a.outputs)}, and {short(b.outputs)} on {who}",
        )


def _fields(instance: Any) -> dict[str, Any]:
    return dict(vars(instance)) if hasattr(instance, "__dict__") else {}


def _is_mutable(value: Any) -> bool:
    return isinstance(value, list | dict | set | bytearray) or (
        isinstance(value, np.ndarray) and bool(value.flags.writeable)
    )


def _is_configured(value: Any, instance: Any) -> bool:
    """Whether an object comes from the configuration, which instances may share."""
    config = getattr(instance, "config", None)
    return dataclasses.is_dataclass(config) and any(
        getattr(config, f.name) is value for f in dataclasses.fields(config)
    )


_CLOCKS = (
    "time", "time_ns", "monotonic", "monotonic_ns", "perf_counter", "perf_counter_ns", "process_time",
    "process_time_ns", "thread_time", "thread_time_ns", "sleep",
)  # fmt: skip


def _calls(subject: Subject) -> bool:
    """Whether the nearest Python code that is not the library's or the kit's is the Concrete's package."""
    package = subject.cls.__module__.partition(".")[0]
    frame = sys._getframe(2)
    name = str(frame.f_globals.get("__name__", ""))
    return name == subject.cls.__module__ or (name.partition(".")[0] == package and package != "bb_core")


@contextmanager
def _watched_clock(subject: Subject) -> Iterator[list[str]]:
    """Note each reading of a clock by the Concrete's own code, however its module has imported it."""
    reads: list[str] = []
    homes = [sys.modules[c.__module__] for c in subject.cls.__mro__ if not c.__module__.startswith("bb_core.")]
    homes = [m for m in dict.fromkeys(homes) if m.__name__ != "builtins"]
    undo: list[tuple[Any, str, Any]] = []

    def put(owner: Any, name: str, value: Any) -> None:
        undo.append((owner, name, getattr(owner, name)))
        setattr(owner, name, value)

    def replace(owner: Any, name: str, original: Any, watched: Any) -> None:
        put(owner, name, watched)
        for home in homes:
            for own, value in list(vars(home).items()):
                if value is original:
                    put(home, own, watched)

    try:
        for name in _CLOCKS:
            original = getattr(time, name)
            replace(time, name, original, _watch(original, f"time.{name}", reads, subject))
        replace(dt, "datetime", dt.datetime, _watched_datetime(reads, subject))
        yield reads
    finally:
        for owner, name, value in reversed(undo):
            setattr(owner, name, value)


def _watch(original: Callable[..., Any], name: str, reads: list[str], subject: Subject) -> Callable[..., Any]:
    def watched(*args: Any) -> Any:
        if _calls(subject):
            reads.append(name)
        return original(*args)

    return watched


def _watched_datetime(reads: list[str], subject: Subject) -> type:
    class Watched(dt.datetime):
        """`datetime.datetime`, which tells when it is asked for the time."""

        @classmethod
        def now(cls, tz: Any = None) -> Any:
            """Return the time."""
            if _calls(subject):
                reads.append("datetime.now")
            return super().now(tz)

    return Watched


COMMON = (
    *checks(
        has_a_stable_name,
        is_documented,
        config_is_frozen,
        config_round_trips,
        import_is_light,
        constructor_does_no_work,
        ops_run,
    ),
    *checks(
        equal_seeds_give_equal_outputs,
        inputs_are_not_changed,
        outputs_match_their_types,
        outputs_stay_as_they_are,
        instances_share_nothing,
        uses_no_global_randomness,
        reads_no_clock,
        keeps_no_context,
        laters_are_answered,
        dependencies_are_used,
        snapshot_restores,
        snapshot_stays_as_it_is,
        errors_are_typed,
        errors_change_nothing,
        tours=True,
    ),
)
