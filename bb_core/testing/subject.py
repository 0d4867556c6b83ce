"""What is checked: how a Concrete is made anew for each check, and how its ops are played.

Theory of operation. A *tour* is a generator that a Role's checks give: it yields Calls of the Role's ops, in an order
in which a program might make them, and is sent what each returned. Most common checks play the tour of a fresh instance
and look at one thing: whether two plays agree, whether inputs are as they were, and so on. To isolate them from one
another a play is lenient: its inputs are writable copies, its outputs are not frozen, and a Later that nobody answers
gives None. The check that is about such a thing asks for the strict form.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from time import monotonic, sleep
from typing import Any

import numpy as np

from bb_core.configs import make_config
from bb_core.errors import BBError, RoleError, UsageError
from bb_core.ids import PeerId
from bb_core.ops.spec import OpSpec
from bb_core.plugins import installed_plugins
from bb_core.registry import Use, check_class
from bb_core.roles.contract import Role, implements, narrowed, specs_of
from bb_core.roles.protocol import protocol_of
from bb_core.testing.clock import FakeClock
from bb_core.testing.context import FakeContext, FakeLater
from bb_core.testing.traits import Traits
from bb_core.testing.values import copied, freeze


class Skip(Exception):
    """Raised by a check that does not apply after all; the message says why."""


@dataclass(frozen=True, slots=True)
class Call:
    """One op of a tour: the method, its inputs (slots first) and attributes, and what the Context says of the Frame."""

    method: str
    inputs: tuple[Any, ...] = ()
    keywords: Mapping[str, Any] = field(default_factory=dict)
    source: PeerId | None = None
    request: int = 0
    is_response: bool = False
    requests: tuple[int, ...] = ()
    run: Callable[..., Any] | None = None
    """Called with (instance, ctx, *inputs) instead of the method, for what is no op."""


Tour = Generator[Call, Any, None]


@dataclass(slots=True)
class Outcome:
    """What a Call of a tour came to."""

    call: Call
    inputs: tuple[Any, ...]
    outputs: Any
    later: FakeLater | None
    ctx: FakeContext | None


class Random(np.random.Generator):
    """A generator that a weak reference can watch."""


@dataclass(slots=True)
class Stage:
    """One instance, with the time and what it depends on."""

    subject: Subject
    instance: Any
    clock: FakeClock = field(default_factory=FakeClock)
    dependencies: dict[str, Any] = field(default_factory=dict)
    asked_for: set[str] = field(default_factory=set)
    steps: int = 0

    def context(self, call: Call, seed: int | None = None) -> FakeContext:
        """Make the Context of one Call; its random numbers are of the subject's seed and the number of the step."""
        traits = self.subject.traits
        ctx = FakeContext(0, getattr(traits, "peers", 9), self.dependencies, self.clock)
        number = self.steps if seed is None else seed
        ctx.rng = Random(np.random.Philox(traits.seed * 1_000_003 + number))
        ctx.source = call.source or ctx.peer_id
        ctx.request, ctx.is_response, ctx.requests = call.request, call.is_response, call.requests
        return ctx

    def start(self, call: Call, ctx: FakeContext) -> Any:
        """Call an op's method; what it returns may be a Later."""
        self.steps += 1
        try:
            if call.run is not None:
                return call.run(self.instance, ctx, *call.inputs)
            return getattr(self.instance, call.method)(ctx, *call.inputs, **call.keywords)
        finally:
            self.asked_for.update(ctx.asked_for)

    def do(self, method: str, *inputs: Any, seed: int | None = None, **keywords: Any) -> Any:
        """Call an op and return its outputs."""
        return self.call(Call(method, inputs, keywords), seed)

    def call(self, call: Call, seed: int | None = None) -> Any:
        """Call an op, with copies of the inputs, and return copies of its outputs; a Later is waited for."""
        result = self.start(_with(call, tuple(map(copied, call.inputs))), self.context(call, seed))
        return copied(self.settle(result))

    def settle(self, result: Any) -> Any:
        """Return the outputs of what an op returned: time passes until a Later is answered."""
        if not isinstance(result, FakeLater):
            return result
        until = monotonic() + self.subject.traits.patience_s
        while result.is_open and (self.clock.advance_to_next() or monotonic() < until):
            sleep(0.0005)
        if result.error is not None:
            raise result.error
        outputs = result.outputs or (None,)
        return outputs[0] if len(outputs) == 1 else outputs


class Subject:
    """A Concrete in one of its Roles, as a check sees it.

    Attributes:
        cls: The class.
        role: The Role that declares the ops.
        traits: What it declares of itself.
    """

    def __init__(self, make: Any, role: type[Role] | None, traits: Traits) -> None:
        self._make = factory(make)
        self.traits: Any = traits  # of the class that the Role's checks want
        self.cls: type[Role] = type(self.make())
        self.role: type[Role] = role or Role
        self._tour: Callable[[Subject], Tour] = lambda subject: _no_tour()
        self._bad: Callable[[Subject], list[tuple[str, Call]]] = lambda subject: []

    def make(self) -> Any:
        """Make an instance."""
        return self._make()

    def plan(
        self, tour: Callable[[Subject], Tour] | None, bad: Callable[[Subject], list[tuple[str, Call]]] | None
    ) -> None:
        """Say which Calls the common checks make."""
        self._tour, self._bad = tour or self._tour, bad or self._bad

    @property
    def title(self) -> str:
        """Name the class for messages."""
        return self.cls.__name__

    @cached_property
    def specs(self) -> dict[str, OpSpec]:
        """The ops that the Concrete has, by method, with the types that its annotations narrow them to."""
        contract = protocol_of(self.cls.domain()) if hasattr(self.cls, "protocol") else None
        specs = specs_of(contract or self.role)
        return {m: narrowed(self.cls, m, spec) for m, spec in specs.items() if implements(self.cls, m)}

    def has(self, *methods: str) -> bool:
        """Whether all of these ops are implemented."""
        return all(implements(self.cls, m) for m in methods)

    def needs(self, *methods: str) -> None:
        """Skip the check when an op is left out."""
        missing = [m for m in methods if not implements(self.cls, m)]
        if missing:
            raise Skip(f"{self.title} leaves out {', '.join(missing)}")

    def random(self, number: int = 0) -> np.random.Generator:
        """Random numbers for inputs."""
        return np.random.Generator(np.random.Philox(self.traits.seed * 7919 + number))

    def stage(self) -> Stage:
        """Put a fresh instance on a stage of its own."""
        return Stage(self, self.make(), dependencies=self._dependencies())

    def tour(self) -> Tour:
        """Begin a tour."""
        return self._tour(self)

    def bad_calls(self) -> list[tuple[str, Call]]:
        """Calls that no program should make: what is wrong with each, and the Call."""
        return self._bad(self)

    def play(
        self,
        stage: Stage | None = None,
        *,
        frozen_inputs: bool = False,
        frozen_outputs: bool = False,
        before: Callable[[Stage, int], None] | None = None,
        after: Callable[[Stage, Outcome], None] | None = None,
    ) -> list[Outcome]:
        """Play a tour.

        Args:
            stage: Where; None: a fresh instance.
            frozen_inputs: Give read-only inputs, as the engine does.
            frozen_outputs: Freeze what comes out, as the engine does.
            before: Called with (stage, number) before each Call.
            after: Called with (stage, outcome) after each.
        """
        stage = stage or self.stage()
        tour, sent = self.tour(), None
        outcomes: list[Outcome] = []
        while True:
            try:
                call = tour.send(sent)
            except StopIteration:
                return outcomes
            if before is not None:
                before(stage, len(outcomes))
            inputs = tuple(copied(value) for value in call.inputs)
            if frozen_inputs:
                freeze(inputs)
            ctx = stage.context(call)
            result = stage.start(_with(call, inputs), ctx)
            later = result if isinstance(result, FakeLater) else None
            outputs = stage.settle(result)
            if frozen_outputs:
                freeze(outputs)
            outcome = Outcome(call, inputs, outputs, later, ctx)
            self._count_outputs(call, outputs)
            if after is not None:
                after(stage, outcome)
            outcome.ctx = ctx = None  # type: ignore[assignment]  # a Context is for one Call
            outcome.outputs = copied(outputs)
            outcomes.append(outcome)
            sent = copied(outputs)

    def _count_outputs(self, call: Call, outputs: Any) -> None:
        spec = self.specs.get(call.method)
        if spec is None or call.run is not None or len(spec.outputs) < 2:
            return
        if not isinstance(outputs, tuple) or len(outputs) != len(spec.outputs):
            got = f"{len(outputs)} values" if isinstance(outputs, tuple) else f"a {type(outputs).__name__}"
            raise RoleError(f"{call.method} returned {got}", expected=f"a tuple of {len(spec.outputs)} values")

    @cached_property
    def broken(self) -> str:
        """Why a tour cannot be played at all; empty when it can."""
        try:
            self.play()
        except Skip:
            raise
        except Exception as error:  # a Concrete may raise anything
            return f"{type(error).__name__}: {error}"
        return ""

    def _dependencies(self) -> dict[str, Any]:
        return {slot: self._dependency(role, slot) for role, slot in self.cls.dependencies}

    def _dependency(self, role: str, slot: str) -> Any:
        if slot in self.traits.dependencies:
            given = self.traits.dependencies[slot]
            return given if isinstance(given, Role) else factory(given)()
        plugins = installed_plugins()
        for entry in plugins.registry:
            if entry.role == role:
                try:
                    return factory(entry.name)()
                except (BBError, ImportError):
                    continue
        raise UsageError(
            f"{self.title} depends on a {role} as {slot!r}, and no installed one can serve it",
            hint=f"say which: traits={{'dependencies': {{{slot!r}: ...}}}}",
        )


def factory(make: Any) -> Callable[[], Any]:
    """Turn what an author names (a class, a name, `bb.use(...)`, or a function) into a function that makes one."""
    use = Use(make) if isinstance(make, type | str) else make
    if isinstance(use, Use):
        cls = installed_plugins().resolve(use.concrete) if isinstance(use.concrete, str) else use.concrete
        config = use.config
        check_class(cls)
        return lambda: cls(make_config(cls, config, "slot"))
    if not callable(make):
        raise UsageError(
            f"a {type(make).__name__} makes no Concrete",
            expected="a class, its stable name, bb.use(...), or a function without arguments that makes one",
        )
    return make  # type: ignore[no-any-return]  # a function


def _with(call: Call, inputs: tuple[Any, ...]) -> Call:
    return Call(
        call.method, inputs, call.keywords, call.source, call.request, call.is_response, call.requests, call.run
    )


def _no_tour() -> Tour:
    yield from ()
