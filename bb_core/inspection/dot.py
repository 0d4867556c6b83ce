"""A program as Graphviz text."""

from __future__ import annotations

from bb_core.inspection.reading import Program


def to_dot(program: Program) -> str:
    """Write a program in the DOT language: a cluster for each function, dashed arrows for what crosses the network."""
    lines = [f"digraph {_quoted(program.name)} {{", "  rankdir=TB; node [shape=box, fontname=monospace];"]
    made: dict[tuple[str, str], str] = {}
    for f, function in enumerate(program.functions):
        lines += [f"  subgraph cluster_{f} {{", f"    label={_quoted(function.name)};"]
        for name in function.inputs:
            made[function.name, name] = f"f{f}_in_{len(made)}"
            lines.append(f"    {made[function.name, name]} [shape=oval, label={_quoted(name)}];")
        for i, op in enumerate(function.ops):
            label = f"{op.op}\\n{op.slot}" if op.slot else op.op
            lines.append(f"    f{f}_{i} [label={_quoted(label)}];")
            for value in op.outputs:
                made[function.name, value] = f"f{f}_{i}"
        lines.append("  }")
    for f, function in enumerate(program.functions):
        for i, op in enumerate(function.ops):
            lines += [
                f"  {made[function.name, v]} -> f{f}_{i}{style};"
                for values, style in ((op.inputs, ""), (op.after, " [style=dotted]"))
                for v in values
                if (function.name, v) in made
            ]
    for edge in program.edges:
        ends = [
            f"f{f}_{i}"
            for kind in ("Send", "Recv")
            for f, function in enumerate(program.functions)
            for i, op in enumerate(function.ops)
            if op.op == kind and op.edge == edge.name and function.name in (edge.sender, edge.receiver)
        ]
        if len(ends) == 2:
            label = ", ".join(f"{p}: {x}" for p, x in edge.values.items())
            lines.append(f"  {ends[0]} -> {ends[1]} [style=dashed, constraint=true, label={_quoted(label)}];")
    return "\n".join([*lines, "}"]) + "\n"


def _quoted(text: str) -> str:
    return '"' + text.replace('"', '\\"') + '"'
