"""The digest that ties a passport to its program."""

from __future__ import annotations

from hashlib import blake2b

import onnx

from bb_core import keys
from bb_core.ir.proto import metadata


def digest_of(model: onnx.ModelProto) -> str:
    """Hash what a program does: its functions and bindings, without the authors' lines.

    BLAKE2b-256 of the functions in deterministic protobuf form, then of the bindings.
    """
    state = blake2b(digest_size=32)
    for function in model.functions:
        bare = onnx.FunctionProto()
        bare.CopyFrom(function)
        kept = [p for p in function.metadata_props if not p.key.startswith(keys.INPUT_SOURCE)]
        del bare.metadata_props[:]
        bare.metadata_props.extend(kept)
        for node in bare.node:
            for i, prop in enumerate(node.metadata_props):
                if prop.key == keys.SOURCE:
                    del node.metadata_props[i]
                    break
        state.update(bare.SerializeToString(deterministic=True))
    state.update(metadata(model).get(keys.BINDINGS, "").encode())
    return state.hexdigest()
