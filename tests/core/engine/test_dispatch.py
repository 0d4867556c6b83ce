"""The compiled dispatch loop against the plain one, on random programs."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bb_core.engine.dispatch import Current, Dispatcher, Frame, Handler, Lane, Plan, Table
from tests.oracles.dispatch import PlainOp, run


def begin(dispatcher: Dispatcher, table: Table, handlers: list[Handler], seeds: Any, starts: tuple[int, ...]) -> Frame:
    """Begin a Frame of an entry without claims."""
    plan = Plan("invoke", table, starts, (), 0, frozenset())
    return dispatcher.begin(
        Lane(table, handlers), plan, 1, None, (b"", "", 0), [value for value, _ in seeds], [item for _, item in seeds]
    )


class Services:
    def __init__(self) -> None:
        self.failures: list[int] = []

    def failed(self, frame: Frame, op: int, handler: Handler, error: BaseException) -> None:
        assert isinstance(error, ArithmeticError), error
        self.failures.append(op)


class Program:
    """Random ops over random values: each op reads earlier values and writes one or two new ones."""

    def __init__(self, n_seeds: int, shapes: list[tuple[list[int], list[int], int, bool]]) -> None:
        self.seeds = {i: (i,) for i in range(n_seeds)}
        self.rows: list[tuple[list[int], list[int], list[int], bool]] = []
        count = n_seeds
        for inputs, controls, n_outputs, fails in shapes:
            read = [v % count for v in inputs] if count else []
            waits = sorted({*read, *(v % count for v in controls)}) if count else []
            self.rows.append((waits, read, list(range(count, count + n_outputs)), fails))
            count += n_outputs
        self.n_values = count

    def call(self, op: int, log: list[int]) -> Any:
        _, _, outputs, fails = self.rows[op]

        def body(*inputs: Any) -> Any:
            log.append(op)
            if fails:
                raise ZeroDivisionError
            return tuple((op, i, *inputs) for i in range(len(outputs)))

        return body


programs = st.builds(
    Program,
    st.integers(0, 3),
    st.lists(
        st.tuples(
            st.lists(st.integers(0, 50), max_size=3),
            st.lists(st.integers(0, 50), max_size=2),
            st.integers(1, 2),
            st.booleans(),
        ),
        max_size=12,
    ),
)


@given(programs, st.integers(1, 4))
def test_same_order_and_same_results_as_the_plain_loop(program: Program, budget: int) -> None:
    expected_log: list[int] = []
    plain = [PlainOp(w, r, o, program.call(i, expected_log)) for i, (w, r, o, _) in enumerate(program.rows)]
    _, order = run(plain, program.seeds)

    log: list[int] = []
    table = Table(
        "f",
        program.n_values,
        [r[0] for r in program.rows],
        [r[1] for r in program.rows],
        [r[2] for r in program.rows],
        (),
    )
    info = SimpleNamespace(title="op")
    handlers = []
    for i, (_, _, outputs, _) in enumerate(program.rows):
        body = program.call(i, log)
        one = (lambda *a, body=body: body(*a)[0]) if len(outputs) == 1 else body
        handlers.append(Handler(one, False, (), {}, (None,) * len(outputs), (False,) * len(outputs), False, info))
    services = Services()
    dispatcher = Dispatcher(Current(), services)
    starts = tuple(i for i, r in enumerate(program.rows) if not r[0])
    frame = begin(dispatcher, table, handlers, list(program.seeds.items()), starts)
    while dispatcher.has_work:
        assert dispatcher.run(budget) <= budget
    assert log == order == expected_log
    assert services.failures == [i for i in order if program.rows[i][3]]
    assert frame.ended
    assert not dispatcher.live


def test_a_value_is_dropped_after_its_last_reader() -> None:
    table = Table("f", 3, [[0], [1]], [[0], [1]], [[1], [2]], ())
    held: list[int] = []
    info = SimpleNamespace(title="op")
    handlers = [
        Handler(lambda x: (held.append(frame.held_values()), x)[1], False, (), {}, (None,), (False,), False, info)
        for _ in range(2)
    ]
    dispatcher = Dispatcher(Current(), Services())
    frame = begin(dispatcher, table, handlers, [(0, "x")], ())
    dispatcher.run(10)
    assert held == [1, 1]


@pytest.mark.parametrize(
    "arguments",
    [
        (1, [[1]], [[0]], [[0]]),
        (1, [[0]], [[1]], [[0]]),
        (1, [[0]], [[0]], [[1]]),
        (1, [[-1]], [[0]], [[0]]),
        (1, [[0]], [[-2]], [[0]]),
        (1, [[0]], [], [[0]]),
        (1, [[0]], [[0] * 40], [[0]]),
    ],
)
def test_a_table_that_points_outside_itself_is_refused(arguments: Any) -> None:
    with pytest.raises(ValueError, match=r"table|inputs"):
        Table("f", *arguments, ())


def test_indices_from_outside_are_checked() -> None:
    table = Table("f", 1, [[0]], [[0]], [[-1]], ())
    dispatcher = Dispatcher(Current(), Services())
    handler = Handler(lambda x: x, False, (), {}, (None,), (False,), False, SimpleNamespace(title="op"))
    for seeds, starts in (([(1, "x")], ()), ([(-1, "x")], ()), ([], (1,)), ([], (-1,))):
        with pytest.raises(IndexError):
            begin(dispatcher, table, [handler], seeds, starts)
