"""Values as the reference implementation reads them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import bb_core as bb
from bb_core.errors import TypeMismatch, UsageError
from bb_core.steps import AppEvent, SendEnvelope
from bb_core.values import Composite
from bb_core.wire.carriers import CPU_TENSOR, encode_for_reference
from bb_core.wire.codec import decode
from bb_core.wire.payloads import decode_value, encode_value
from tests.support import Everyone, peer

VECTORS = [
    (
        np.float32([[1, 2], [3, 4]]),
        "0102000000000000000200000000000000020000000000000004000000000000000000803f000000400000404000008040"
        "020000000000000002000000000000000200000000000000",
    ),
    (np.float32(0.5).reshape(()), "01000000000000000001000000000000000000003f0000000000000000"),
]


def joined(payload: Any) -> bytes:
    return b"".join(payload) if isinstance(payload, tuple) else bytes(payload)


@pytest.mark.parametrize(("array", "raw"), VECTORS, ids=["matrix", "scalar"])
def test_a_tensor_is_written_byte_for_byte(array: np.ndarray, raw: str) -> None:
    type_hash, payload, trigger_only = encode_for_reference(np.asarray(array, order="F"))
    assert (type_hash, joined(payload).hex(), trigger_only) == (CPU_TENSOR, raw, False)
    assert np.array_equal(decode_value(type_hash, joined(payload)), array)


def test_tensors_in_composites_are_written_so_too_and_other_values_as_ever() -> None:
    value = Composite([np.float32([1]), b"hi", Composite([np.float32([2])])])
    type_hash, payload, _ = encode_for_reference(value)
    assert joined(payload).count(CPU_TENSOR.to_bytes(8, "little")) == 2
    back = decode_value(type_hash, joined(payload))
    assert back[0].tolist() == [1]
    assert back[2][0].tolist() == [2]
    assert encode_for_reference(b"hi") == encode_value(b"hi")


@pytest.mark.parametrize("dtype", [np.float64, np.int64, np.float16])
def test_the_reference_has_no_other_elements(dtype: Any) -> None:
    with pytest.raises(TypeMismatch, match="float32"):
        encode_for_reference(np.zeros(1, dtype))


class Handing(bb.Module):
    cohort = bb.PeerSelectorSlot(peer_class="client")

    def body(self, g: bb.Graph) -> None:
        x = g.input("x", bb.f32["N"])
        g.output("there", g.send(x, to=self.cohort.current_view(g, after=x)))


def test_a_node_of_the_profile_sends_so_and_any_node_reads_it() -> None:
    artefact = bb.Compiler().bind({"cohort": Everyone}).compile(Handing())
    options = bb.NodeConfig(wire_profile="reference")
    sender = bb.install(peer(0), [], artefact, ["Handing"], options=options)
    receiver = bb.install(peer(1), [], artefact, ["Handing@client"])
    sender.add_peer(peer(1), peer_class="client")
    sender.invoke("Handing", {"x": np.float32([1, 2])}, 0)
    (sent,) = [s for s in sender.poll(0).steps if isinstance(s, SendEnvelope)]
    (fill,) = decode(sent.data).fills
    assert fill.type_hash == CPU_TENSOR
    receiver.receive(sent.data, 0, source=peer(0))
    (event,) = [s for s in receiver.poll(0).steps if isinstance(s, AppEvent)]
    assert event.value.tolist() == [1, 2]


def test_there_is_no_other_profile() -> None:
    with pytest.raises(UsageError, match="wire profile"):
        bb.NodeConfig(wire_profile="other")  # type: ignore[arg-type]
