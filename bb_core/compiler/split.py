"""One artefact as several: each target a model of its own, for inspection."""

from __future__ import annotations

import onnx

from bb_core.ir.encode import set_graph
from bb_core.ir.naming import target_of
from bb_core.ir.proto import value_types


def split(model: onnx.ModelProto) -> dict[str, onnx.ModelProto]:
    """Return each target's functions (its body and its bootstrap) as a model; they are not installable."""
    found: dict[str, onnx.ModelProto] = {}
    for function in model.functions:
        part = found.setdefault(target_of(function.name), onnx.ModelProto())
        part.functions.append(function)
    for part in found.values():
        part.ir_version = model.ir_version
        part.producer_name, part.producer_version = model.producer_name, model.producer_version
        entries = {}
        for function in part.functions:
            types = value_types(function)
            entries[function.name] = ({v: types[v] for v in function.input}, {v: types[v] for v in function.output})
        set_graph(part, entries)
    return found
