"""The cheap check between passes: every value has one producer that comes before its readers, every node a name."""

from __future__ import annotations

import onnx

from bb_core.errors import InternalError, MalformedProgram
from bb_core.ir.proto import reads, source_of


def problems(function: onnx.FunctionProto) -> list[MalformedProgram]:
    """Return what is wrong with a function's dataflow."""
    found: list[MalformedProgram] = []
    written = set(function.input)
    names: set[str] = set()
    for node in function.node:
        found += [
            MalformedProgram(f"{node.op_type} reads {value!r}, which nothing before it produces", where=source_of(node))
            for value in reads(node)
            if value not in written
        ]
        for value in node.output:
            if value and value in written:
                found.append(MalformedProgram(f"the value {value!r} is produced twice", where=source_of(node)))
            written.add(value)
        if not node.name or node.name in names:
            found.append(MalformedProgram(f"the node name {node.name!r} is empty or not unique", where=source_of(node)))
        names.add(node.name)
    return found + [
        MalformedProgram(f"the output {value!r} of {function.name} is never produced")
        for value in function.output
        if value not in written
    ]


def verify(model: onnx.ModelProto, after: str, *, by_stage: bool = False) -> None:
    """Refuse to go on after a pass that left a broken program: its own mistake, or the author's of a stage."""
    for function in model.functions:
        found = problems(function)
        if found:
            kind, error = ("stage", MalformedProgram) if by_stage else ("pass", InternalError)
            raise error(f"the {kind} {after} left {function.name} broken: {found[0].message}", where=found[0].where)
