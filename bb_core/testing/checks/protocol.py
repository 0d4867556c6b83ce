"""What is asked of a Protocol."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import numpy as np

from bb_core import types as t
from bb_core.errors import UnknownModule
from bb_core.ids import PeerId
from bb_core.ops.spec import REQUIRED, Attribute, OpSpec
from bb_core.roles.protocol import inbound_of
from bb_core.testing.checks import checks, expect
from bb_core.testing.subject import Call, Skip, Subject, Tour
from bb_core.testing.traits import ProtocolTraits
from bb_core.values import TRIGGER, PeerList, Record, RequestId

TRAITS = ProtocolTraits

_EXAMPLES: dict[str, Any] = {
    t.ANY.denotation: np.ones(3, np.float32),
    t.TRIGGER.denotation: TRIGGER,
    t.BYTES.denotation: b"bytes",
    t.RECORD.denotation: Record(count=1),
    t.PEER_ID.denotation: PeerId.from_int(1),
    t.PEER_LIST.denotation: PeerList([PeerId.from_int(1), PeerId.from_int(2)]),
    t.REQUEST_ID.denotation: RequestId(7),
    t.TENSOR.denotation: np.ones(3, np.float32),
}
_KINDS: dict[str, Any] = {"int": 1, "float": 1.0, "str": "a", "bool": True, "ints": (1,), "strs": ("a",), "duration": 1}


def example_of(type_: t.Type) -> Any:
    """Make a small value of a type."""
    if type_.denotation in _EXAMPLES:
        return _EXAMPLES[type_.denotation]
    if not type_.is_tensor:
        raise Skip(f"the kit knows no value of the type {type_}; give it: traits={{'inputs': {{method: (value,)}}}}")
    from onnx import helper

    dims = (3,) if type_.shape is None else type_.shape
    shape = tuple(d if isinstance(d, int) else 3 for d in dims)
    return np.ones(shape, helper.tensor_dtype_to_np_dtype(type_.elem))


def _attribute(attribute: Attribute) -> Any:
    return _KINDS[attribute.kind] if attribute.default is REQUIRED else attribute.default


def call_of(method: str, spec: OpSpec, given: tuple[Any, ...] | None) -> Call:
    """Make a Call of an op, with values of its ports' types unless some are given."""
    inputs = tuple(None if p.optional else example_of(p.type) for p in spec.inputs) if given is None else given
    return Call(method, inputs, {a.name: _attribute(a) for a in spec.attributes}, PeerId.from_int(1), 7)


def tour(subject: Subject) -> Tour:
    """Call each op, as if a peer had sent its inputs; then all once more."""
    for _ in range(2):
        for method, spec in subject.specs.items():
            yield call_of(method, spec, subject.traits.inputs.get(method))


def bad_calls(subject: Subject) -> list[tuple[str, Call]]:
    """What is wrong for a protocol only its author knows."""
    return []


def declares_a_protocol(subject: Subject) -> None:
    """It names its protocol, and has ops of its own or some that peers may call."""
    name = getattr(subject.cls, "protocol", "")
    expect(name, "it has no `protocol`; expected a stable dotted name")
    ops = subject.specs or inbound_of(subject.cls)
    expect(ops, f"the protocol {name!r} has no op: @bb.roles.op or @bb.roles.inbound on its methods")


def nodes_agree_in_spite_of_loss(subject: Subject) -> None:
    """On a network that loses, doubles and reorders Envelopes, all Nodes come to agree."""
    traits = subject.traits
    if traits.program is None:
        raise Skip("no program is declared in which Nodes speak it")
    from bb_core.testing.bringing_up import bring_up
    from bb_core.testing.loopback import Network

    module = traits.program()
    network = Network(jitter_ns=2_000_000, loss=0.2, duplicate=0.2, reorder=0.2)
    loopback = bring_up(module, {traits.slot: subject.cls}, traits.peers, network=network, seed=traits.seed)
    target, inputs = traits.start or (module.name, {})
    loopback.invoke(next(iter(loopback.nodes)), target, inputs)
    loopback.run_until_quiet(100_000)
    concretes = []
    for node in loopback.nodes.values():
        with suppress(UnknownModule):  # a class of peers may have no part in it
            concretes.append(node.component(traits.slot))
    expect(traits.agreed(concretes), "the Nodes have not come to agree")


CHECKS = (*checks(declares_a_protocol), *checks(nodes_agree_in_spite_of_loss, tours=True))
