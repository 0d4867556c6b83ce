"""What each Codec keeps of a value, what it costs, and what it refuses; the promises of the Role are the kit's."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import bb_core as bb
from bb_core.errors import RoleError
from bb_core.steps import AppEvent
from bb_core.testing import FakeContext, bring_up
from bb_plugins.codecs.float16 import Float16
from bb_plugins.codecs.int8_affine import Int8Affine
from bb_plugins.codecs.top_k import TopK, largest

CTX = FakeContext()
F32 = hnp.arrays(np.float32, hnp.array_shapes(max_side=40), elements=st.floats(-(2.0**100), 2.0**100, width=32))


def made(cls: Any, **options: Any) -> Any:
    return cls(cls.Config(**options))


def normal(*shape: int, seed: int = 0) -> Any:
    return np.random.Generator(np.random.Philox(seed)).standard_normal(shape).astype(np.float32)


# --- Float16 ----------------------------------------------------------------------------------------------------------


@given(hnp.arrays(np.float32, 50, elements=st.floats(-65504, 65504, width=32)))
def test_float16_is_the_nearest_half(value: Any) -> None:
    encoded, stats = made(Float16).encode(CTX, value)
    np.testing.assert_array_equal(encoded, value.astype(np.float16))
    assert stats["bytes_out"] == stats["bytes_in"] // 2
    bound = np.maximum(np.abs(value.astype(np.float64)) * 2.0**-11, 2.0**-25)
    assert (np.abs(encoded.astype(np.float64) - value) <= bound).all()


@pytest.mark.parametrize("bad", [1e9, -65520, np.inf, np.nan])
def test_what_no_half_can_hold_is_refused(bad: float) -> None:
    value = np.zeros(100_000, np.float32)
    value[-1] = bad
    with pytest.raises(RoleError, match="65504"):
        made(Float16).encode(CTX, value)


# --- Int8Affine -------------------------------------------------------------------------------------------------------


def steps_of(flat: Any, block: int) -> Any:
    """The oracle: for each element, the step of its block by equation 1, in f64."""
    found = np.zeros(len(flat))
    for start in range(0, len(flat), block):
        part = flat[start : start + block].astype(np.float64)
        found[start : start + block] = (max(part.max(), 0) - min(part.min(), 0)) / 255
    return found


@settings(deadline=None)
@given(F32, st.integers(1, 50))
def test_int8_is_off_by_half_a_step_at_most_and_keeps_zero(value: Any, block: int) -> None:
    codec = made(Int8Affine, block=block)
    encoded, _ = codec.encode(CTX, value)
    decoded = codec.decode(CTX, encoded)
    off = np.abs(decoded.astype(np.float64) - value).reshape(-1)
    steps = steps_of(value.reshape(-1), block)
    assert (off <= 0.5001 * steps + 1e-6 * np.abs(value.reshape(-1)) + 2e-38).all()
    assert (decoded[value == 0] == 0).all()


def test_int8_takes_a_quarter_of_the_bytes() -> None:
    _, stats = made(Int8Affine).encode(CTX, normal(9610))
    assert stats["bytes_out"] == 9610 + 3 * 5
    assert stats["bytes_in"] == 4 * 9610


def test_a_large_element_costs_its_own_block_alone_its_precision() -> None:
    value = normal(1000)
    value[7] = 1e6
    alike, apart = (made(Int8Affine, block=b) for b in (1000, 10))
    errors = [np.abs(c.decode(CTX, c.encode(CTX, value)[0]) - value)[10:].max() for c in (alike, apart)]
    assert errors[0] > 100 * errors[1]


@pytest.mark.parametrize("bad", [2e38, np.inf, -np.inf, np.nan])
def test_what_has_no_scale_is_refused(bad: float) -> None:
    with pytest.raises(RoleError, match="finite"):
        made(Int8Affine, block=4).encode(CTX, np.asarray([0, 1, 2, 3, bad], np.float32))


def test_another_block_at_the_other_end_is_refused_by_name() -> None:
    encoded, _ = made(Int8Affine, block=100).encode(CTX, normal(1000))
    with pytest.raises(RoleError, match=r"10 scales(.|\n)*4 of each, for blocks of 256"):
        made(Int8Affine, block=256).decode(CTX, encoded)


# --- TopK -------------------------------------------------------------------------------------------------------------


@given(hnp.arrays(np.int8, st.integers(1, 60)), st.data())
def test_the_largest_are_taken_and_of_equal_ones_the_first(value: Any, data: Any) -> None:
    count = data.draw(st.integers(0, len(value)))
    flat = value.astype(np.float32)
    assert largest(flat, count).tolist() == sorted(np.argsort(-np.abs(flat), kind="stable")[:count].tolist())


@settings(deadline=None)
@given(st.integers(0, 20), st.sampled_from([0.01, 0.1, 0.5]))
def test_with_feedback_nothing_is_lost(seed: int, share: float) -> None:
    """What was sent, and what is still left, is what came in: Stich et al. 2018, the invariant behind lemma 3.1."""
    codec, sent, given_ = made(TopK, share=share), np.zeros((20, 5)), np.zeros((20, 5))
    for step in range(30):
        value = normal(20, 5, seed=100 * seed + step)
        encoded, stats = codec.encode(CTX, value)
        sent += codec.decode(CTX, encoded)
        given_ += value
    left = codec.snapshot()["memory"][0]
    np.testing.assert_allclose(sent + left, given_, atol=1e-4)
    assert stats["left"] == pytest.approx(float(np.sum(left.astype(np.float64) ** 2)), rel=1e-4)


def test_without_feedback_small_elements_never_come() -> None:
    value = np.asarray([10.0, 1.0, 0.5, 0.25], np.float32)
    sums = []
    for feedback in (True, False):
        codec = made(TopK, share=0.25, error_feedback=feedback)
        sums.append(sum(codec.decode(CTX, codec.encode(CTX, value)[0]) for _ in range(100)))
    assert sums[1].tolist() == [1000, 0, 0, 0]
    np.testing.assert_allclose(sums[0], 100 * value, atol=25)


def test_each_shape_has_a_memory_of_its_own() -> None:
    codec = made(TopK, share=0.5)
    codec.encode(CTX, np.asarray([2.0, 1.0], np.float32))
    codec.encode(CTX, np.zeros((2, 2), np.float32))
    encoded, _ = codec.encode(CTX, np.asarray([0.0, 1.5], np.float32))
    assert codec.decode(CTX, encoded).tolist() == [0, 2.5]
    for side in range(3, 65):
        codec.encode(CTX, np.zeros(side, np.float32))
    with pytest.raises(RoleError, match="more than 64 shapes"):
        codec.encode(CTX, np.zeros(65, np.float32))


def test_bytes_are_a_tenth_for_a_twentieth() -> None:
    encoded, stats = made(TopK).encode(CTX, normal(10_000))
    assert (len(encoded["values"]), stats["bytes_out"], stats["bytes_in"]) == (500, 4008, 40_000)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_not_finite_is_refused_and_leaves_the_memory_alone(bad: float) -> None:
    codec = made(TopK, share=0.5)
    codec.encode(CTX, np.asarray([2.0, 1.0], np.float32))
    with pytest.raises(RoleError, match="finite"):
        codec.encode(CTX, np.asarray([0.0, bad], np.float32))
    assert codec.snapshot()["memory"][0].tolist() == [0, 1]


# --- what peers may send ----------------------------------------------------------------------------------------------

FORGED: list[tuple[Any, dict[str, Any]]] = [
    (Int8Affine, {"scales": np.asarray([np.inf], np.float32)}),
    (Int8Affine, {"scales": np.asarray([-1], np.float32)}),
    (Int8Affine, {"scales": np.asarray([1.0])}),
    (Int8Affine, {"zeros": np.zeros(2, np.int8)}),
    (Int8Affine, {"codes": np.zeros(9, np.uint8)}),
    (Int8Affine, {"codes": b"\0" * 9}),
    (TopK, {"shape": np.asarray([2**40], np.int64)}),
    (TopK, {"shape": np.asarray([-4, -5], np.int64)}),
    (TopK, {"shape": np.asarray([20], np.int32)}),
    (TopK, {"places": np.asarray([3, 3, 4], np.uint32)}),
    (TopK, {"places": np.asarray([5, 4, 3], np.uint32)}),
    (TopK, {"places": np.asarray([3, 4, 20], np.uint32)}),
    (TopK, {"places": np.asarray([3, 4, 5])}),
    (TopK, {"values": np.zeros(2, np.float32)}),
]


@pytest.mark.parametrize(("cls", "fields"), FORGED, ids=lambda v: v.__name__ if isinstance(v, type) else next(iter(v)))
def test_a_forged_field_is_refused(cls: Any, fields: dict[str, Any]) -> None:
    codec = made(cls, **({"share": 0.15} if cls is TopK else {}))
    encoded, _ = codec.encode(CTX, normal(20))
    codec.decode(CTX, encoded)
    with pytest.raises(RoleError):
        codec.decode(CTX, bb.Record(**{**encoded, **fields}))


@pytest.mark.parametrize("cls", [Float16, Int8Affine, TopK])
@pytest.mark.parametrize("value", [bb.Record(), b"", np.zeros(3), bb.Record(codes=1, values=1)])
def test_what_was_never_encoded_is_refused(cls: Any, value: Any) -> None:
    with pytest.raises(RoleError, match="never encoded"):
        made(cls).decode(CTX, value)


@pytest.mark.parametrize(("cls", "options"), [(Int8Affine, {"block": 0}), (TopK, {"share": 0}), (TopK, {"share": 1.1})])
def test_illegal_options_are_refused(cls: Any, options: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="expected"):
        made(cls, **options)


# --- across the wire --------------------------------------------------------------------------------------------------


class Compressed(bb.Module):
    """Sends a value in a smaller form to every client, and takes it back from each."""

    cohort = bb.PeerSelectorSlot(peer_class="client")
    codec = bb.CodecSlot()

    def body(self, g: bb.Graph) -> None:
        value = g.input("value", bb.f32["N"])
        encoded, stats = self.codec.encode(g, value)
        there = g.send(encoded, to=self.cohort.sample(g, n=2, after=value))
        back = g.reply(self.codec.decode(g, there), to=there)
        g.output("values", g.stack(g.gather(back, deadline="30s")))
        g.output("stats", stats)


@pytest.mark.parametrize(("name", "ratio"), [("Float16", 0.5), ("Int8Affine", 0.26), ("TopK", 0.11)])
def test_a_value_crosses_the_wire_in_fewer_bytes_and_is_the_one_that_was_told(name: str, ratio: float) -> None:
    value, bindings = normal(4000), {"cohort": "bytesandbrains.ConstantView", "codec": f"bytesandbrains.{name}"}
    loopback = bring_up(Compressed(), bindings, {"client": 2})
    own = next(iter(loopback.nodes))
    loopback.invoke(own, "Compressed", {"value": value})
    loopback.run_until_quiet()
    found = {s.step.port: s.step.value for s in loopback.seen if isinstance(s.step, AppEvent)}
    assert found["values"].shape == (2, 4000)
    error = np.sum((found["values"][0].astype(np.float64) - value) ** 2)
    assert found["stats"]["distortion"] == pytest.approx(error, rel=1e-3)
    assert found["stats"]["bytes_out"] <= ratio * value.nbytes
    back = 2 * value.nbytes  # the answers are decoded, and whole
    assert (loopback.bytes_on_wire - back) / 2 <= ratio * value.nbytes + 400
