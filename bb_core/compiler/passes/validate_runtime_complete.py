"""Pass 17."""

from __future__ import annotations

from itertools import islice

import onnx

from bb_core.compiler.contracts import CONTRACTS
from bb_core.compiler.lint import lint
from bb_core.compiler.state import State
from bb_core.errors import IncompleteProgram, UnreachableOp
from bb_core.ir.entries import begins, entries_of, is_constant
from bb_core.ir.proto import reads, source_of

_SHOWN = 5  # of what one pass has left undone; the rest would say the same


def validate_runtime_complete(model: onnx.ModelProto, state: State) -> None:
    """Check that a program can run: what every pass must leave is there, every op can start, and the protocol holds.

    Values pass from one Frame to another only through a component, the bus or the wire; an op that reads what an invoke
    gives and what an Envelope brings would wait for ever. The lint then looks at the protocol as a whole.

    Needs: all passes before it. Leaves: the program as it was. Fails with: IncompleteProgram, UnreachableOp, and the
    lint's errors.
    """
    for name, missing in CONTRACTS.items():
        for message, where in islice(missing(model, state), _SHOWN):
            state.add(
                IncompleteProgram(
                    message, where=where, hint=f"the pass {name} sees to that: do not leave it out", missing=[name]
                )
            )
    if state.errors:
        return
    for function in model.functions:
        _check_reach(function, state)
    lint(model, state)


def _check_reach(function: onnx.FunctionProto, state: State) -> None:
    entries = entries_of(function)
    reached = {i for e in entries for i in e.ops}
    lost: set[str] = set()
    for i, node in enumerate(function.node):
        if i in reached or is_constant(node) or begins(node):
            continue
        if not lost.intersection(reads(node)):  # what follows an op that never runs is no error of its own
            state.add(_error(function, node, [e.name for e in entries]))
        lost.update(node.output)


def _error(function: onnx.FunctionProto, node: onnx.NodeProto, entries: list[str]) -> UnreachableOp:
    if not any(node.input):
        return UnreachableOp(
            f"nothing ever starts {node.op_type} in {function.name}: it has no input, and no one reads what it gives",
            where=source_of(node),
            hint="give it `after=` a value that it should follow",
        )
    if not entries:
        return UnreachableOp(
            f"nothing ever starts {node.op_type} in {function.name}: the program has no input, timer or event",
            where=source_of(node),
            hint='declare one: g.input("go", bb.types.TRIGGER), and give it to `after=`',
        )
    return UnreachableOp(
        f"the inputs of {node.op_type} in {function.name} never arrive together",
        where=source_of(node),
        expected=f"all inputs from one entry of the function; its entries are: {', '.join(entries) or 'none'}",
        hint="keep the early value in a component (an Aggregator, an Index), or send it along",
    )
