"""What begins in a component and stands in no program, as functions of one or two ops: inbound ops, answers, timers.

Each runs as a target does, in a Frame: it may answer later, waits for bootstraps and claims, counts against budgets, is
seen by observers, kept in snapshots, and its failure is a Step.
"""

from __future__ import annotations

import onnx

from bb_core import keys
from bb_core import types as t
from bb_core.engine.dispatch import Plan, Table
from bb_core.engine.program import FunctionProgram, OpInfo, Program
from bb_core.ops.spec import Answer, OpSpec, Port
from bb_core.roles import ROLES

ENTRY = "call"
"""The one entry of each of these functions; it gives all its inputs."""
REPLY = "Reply"
"""Op that sends on what an inbound op has returned; it does not run when that is None."""


def inbound_name(slot: str, op: str) -> str:
    """Name the function of an inbound op."""
    return f"{slot}/op/{op}"


def reply_name(slot: str) -> str:
    """Name the function that takes in answers to a component."""
    return f"{slot}/reply"


def timer_name(slot: str) -> str:
    """Name the function of a component's timers."""
    return f"{slot}/timer"


def inbound_function(program: Program, slot: str, op: str) -> FunctionProgram:
    """Return the function of an inbound op: its method, then the Reply."""
    name = inbound_name(slot, op)
    found = program.component_functions.get(name)
    if found is None:
        method = _info(program, slot, op, ("payload",), "answer", is_optional=True)
        reply = _info(program, slot, REPLY, ("answer",), "")
        table = Table(name, 2, [[0], [1]], [[0], [1]], [[1], []], ())
        found = program.component_functions[name] = _function(name, table, [method, reply])
    return found


def call_function(program: Program, slot: str, name: str, method: str, inputs: tuple[str, ...]) -> FunctionProgram:
    """Return a function that calls one method with all its inputs."""
    found = program.component_functions.get(name)
    if found is None:
        own = list(range(len(inputs)))
        table = Table(name, len(inputs) + 1, [own], [own], [[-1]], ())
        info = _info(program, slot, method, inputs, "done")
        found = program.component_functions[name] = _function(name, table, [info])
    return found


def _info(
    program: Program, slot: str, op: str, inputs: tuple[str, ...], output: str, *, is_optional: bool = False
) -> OpInfo:
    role = str(program.bindings[slot]["role"])
    outputs = (Port(output, t.ANY if is_optional else t.TRIGGER, is_optional),) if output else ()
    spec = OpSpec(
        keys.COMPONENT, op, 1, tuple(Port(name, t.ANY) for name in inputs), outputs, answer=Answer.LATER, stateful=True
    )
    classes = tuple(t.python_class(port.type) for port in outputs)
    return OpInfo(
        op, op, keys.COMPONENT, "", slot, keys.PROTOCOL if op != "on_timer" else role, spec, {}, (slot,),
        ROLES[role].exclusive and op != REPLY, classes, tuple(port.name for port in outputs),
    )  # fmt: skip


def _function(name: str, table: Table, ops: list[OpInfo]) -> FunctionProgram:
    slot = ops[0].slot
    claims = (slot,) if ops[0].exclusive else ()
    plan = Plan(ENTRY, table, (), claims, len(claims), frozenset({slot}))
    return FunctionProgram(name, "", table, ops, {}, {}, {ENTRY: plan}, onnx.FunctionProto(), {}, {})
