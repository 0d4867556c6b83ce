"""What a Concrete declares of itself to the kit; a capability, never a class's name, says which checks apply.

Every field has a default that suits a small Concrete of its Role, so that most authors declare nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

HEAVY = ("jax", "matplotlib", "numba", "pandas", "scipy", "sklearn", "tensorflow", "torch")


@dataclass(frozen=True, slots=True, kw_only=True)
class Traits:
    """What is asked of every Concrete."""

    deterministic: bool = True
    """Equal seeds and inputs give equal outputs, to the last bit."""
    snapshot: bool = True
    """It can be kept and restored at any moment between two ops."""
    dependencies: Mapping[str, Any] = field(default_factory=dict)
    """By slot name, what serves a dependency: a Concrete, a class, `bb.use(...)` or a stable name. What is not named
    is served by the first installed Concrete of the Role that needs no configuration."""
    heavy_imports: tuple[str, ...] = HEAVY
    """Packages that importing its module may not load."""
    portable_config: bool = True
    """Its configuration can stand in an artefact; one that holds arrays cannot."""
    seed: int = 0
    """Of all that the checks draw."""
    patience_s: float = 10.0
    """How long, in real seconds, a check waits for a Later that another thread answers."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BackendTraits(Traits):
    """What a Backend declares."""

    dtypes: tuple[str, ...] = ("float32", "float64")
    """Element types with which floating-point ops are checked."""
    tolerance: float = 1e-5
    """Largest relative error against the oracle, for float32; scaled by the element type's precision."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelTraits(Traits):
    """What a Model declares: what it can be trained on."""

    example_shape: tuple[int, ...] = (4,)
    """Shape of one example, without the batch."""
    classes: int | None = 3
    """Labels are whole numbers below this; None: real numbers, of `label_shape`."""
    label_shape: tuple[int, ...] = ()
    """Shape of one label, without the batch."""
    batch_size: int = 8
    """Examples in a batch."""
    learns: bool = True
    """Training again and again on one batch lowers its loss."""
    steps: int = 60
    """How many times that takes."""
    fixed_layout: bool = True
    """`load_parameters` and `apply_delta` refuse a vector of another length."""


@dataclass(frozen=True, slots=True, kw_only=True)
class IndexTraits(Traits):
    """What an Index declares."""

    dim: int = 8
    """Length of its vectors."""
    count: int = 24
    """How many vectors the checks store."""
    exact: bool = True
    """A stored vector that is searched for is found first."""
    fixed_dim: bool = True
    """Vectors of another length than those stored are refused."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AggregatorTraits(Traits):
    """What an Aggregator declares."""

    parameters: int = 7
    """Length of an update."""
    cohort: int = 5
    """How many peers contribute; a robust rule may need more."""
    update: Callable[[np.random.Generator, int], Any] | None = None
    """Makes an update of so many parameters; None: normal f32."""
    stats: Callable[[int], Mapping[str, Any]] = lambda peer: {"num_samples": peer + 1}
    """What peer n sends beside its update."""
    identity: bool = True
    """Equal updates of all peers come out as they went in, in a first round."""
    bounded: bool = True
    """Each coordinate lies between the smallest and the largest that came in, in a first round."""
    tolerance: float = 1e-5
    """Largest error of these two, relative to the largest update."""
    refuses_not_finite: bool = True
    """An update with NaN or infinity is refused."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CodecTraits(Traits):
    """What a Codec declares."""

    shapes: tuple[tuple[int, ...], ...] = ((16,), (3, 5), (1,))
    """Shapes of the values that are compressed."""
    dtypes: tuple[str, ...] = ("float32",)
    """Their element types."""
    lossless: bool = False
    """What is decoded is what was encoded, to the last bit."""
    max_error: float | None = None
    """Largest error of an element, relative to the largest magnitude in the value; None: no promise."""
    keeps_shape: bool = True
    """What is decoded has the shape and element type of what was encoded."""
    empty: bool = False
    """Values without elements can be compressed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DataSourceTraits(Traits):
    """What a DataSource declares."""

    finite: bool = True
    """It has passes that end; an endless stream never says `epoch_end`."""
    covers: bool = True
    """A pass gives each example once; one that samples does not."""
    most_batches: int = 1000
    """A pass has no more batches than this."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PeerSelectorTraits(Traits):
    """What a PeerSelector declares."""

    peers: int = 9
    """How many peers the address book has."""
    fills: bool = True
    """A sample has as many peers as were asked for, while there are so many."""
    sees_all: bool = True
    """The view is the whole address book; one that is configured with its peers has its own."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ProtocolTraits(Traits):
    """What a Protocol declares."""

    inputs: Mapping[str, tuple[Any, ...]] = field(default_factory=dict)
    """By method, the values with which the checks call it; what is not named gets values of its ports' types."""
    program: Callable[[], Any] | None = None
    """Makes a Module with one slot of the protocol, whose Nodes are to agree in spite of loss; None: no such check."""
    slot: str = "protocol"
    """The slot's path in it."""
    start: tuple[str, Mapping[str, Any]] | None = None
    """The inputs of the invoke that begins it on the first Node: (target, inputs)."""
    peers: Mapping[str, int] = field(default_factory=lambda: {"": 2})
    """How many Nodes of each class."""
    agreed: Callable[[list[Any]], bool] = lambda concretes: True
    """Given the Concretes of all Nodes that have the slot: whether they have come to agree."""
