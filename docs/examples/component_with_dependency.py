"""An Index that computes through whatever Backend is bound beside it: a counted one, or another library's."""

import sys
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

import bb_core as bb
from bb_core.errors import MissingExtra, UnboundDependency
from bb_core.steps import AppEvent
from bb_plugins.backends.cpu.backend import CpuBackend

DIMENSIONS, NEAREST = 16, 3
calls: Counter[str] = Counter()


@bb.concrete("examples.CountingBackend")
class CountingBackend(CpuBackend):
    """CpuBackend, and a count of how often each kernel is called."""

    def kernel(self, name: str, attributes: Mapping[str, Any]) -> Callable[..., Any]:
        """Wrap the kernel."""
        inner = super().kernel(name, attributes)

        def run(*inputs: Any) -> Any:
            calls[name] += 1
            return inner(*inputs)

        return run


@bb.concrete("examples.ProductIndex")
@bb.depends(backend="compute")
class ProductIndex(bb.roles.Index):
    """Finds the vectors with the largest inner products. It multiplies nothing itself: its Backend does."""

    def __init__(self, config: Any) -> None:
        super().__init__(config)
        self._vectors = np.zeros((0, DIMENSIONS), np.float32)
        self._product: Callable[..., Any] | None = None

    def add(self, ctx: bb.Context, vectors: bb.Tensor, ids: bb.Tensor | None = None) -> bb.Tensor:
        """Store vectors; their ids are their places."""
        first = len(self._vectors)
        self._vectors = np.concatenate([self._vectors, vectors])
        return np.arange(first, len(self._vectors))

    def search(self, ctx: bb.Context, query: bb.Tensor, *, k: int) -> tuple[bb.Tensor, bb.Tensor]:
        """Return the nearest, by one product for all queries."""
        if self._product is None:
            self._product = ctx.dependency("compute").kernel("MatMul", {})  # a kernel may be kept, the Context not
        scores = self._product(query, self._vectors.T)
        ids = np.argsort(-scores, axis=1, kind="stable")[:, :k]
        return ids, np.take_along_axis(scores, ids, axis=1)

    def size(self, ctx: bb.Context) -> bb.Tensor:
        """Return how many there are."""
        return np.asarray(len(self._vectors))


class Searching(bb.Module):
    """Stores what is given, then searches. Only the Index is recorded; that it needs a Backend is its own affair."""

    index = bb.IndexSlot()

    def body(self, g: bb.Graph) -> None:
        """Record it."""
        stored = self.index.add(g, g.input("vectors", bb.f32["N", DIMENSIONS]))
        query = g.input("query", bb.f32["Q", DIMENSIONS])
        ids, scores = self.index.search(g, query, k=NEAREST, after=stored)
        g.output("ids", ids)
        g.output("scores", scores)


def search(compute: type[bb.roles.Backend] | str, inputs: Mapping[str, Any]) -> dict[str, Any]:
    """What the program gives with one Backend or another: the binding is all that differs."""
    artefact = bb.Compiler().bind({"index": ProductIndex, "compute": compute}).compile(Searching())
    node = bb.install(bb.PeerId.from_int(0), [], artefact, ["Searching"])
    node.invoke("Searching", inputs, 0)
    return {step.port: step.value for step in node.poll(0).steps if isinstance(step, AppEvent)}


def main() -> int:
    """Search by counted kernels, by another library, and without any Backend."""
    random = np.random.Generator(np.random.Philox(0))
    vectors = random.standard_normal((1000, DIMENSIONS)).astype(np.float32)
    inputs = {"vectors": vectors, "query": vectors[[3, 7]] * 10}
    counted = search(CountingBackend, inputs)
    print("nearest to 3 and 7:", counted["ids"].tolist(), "by", dict(calls))

    best = np.argsort(-(inputs["query"] @ vectors.T), axis=1)[:, :NEAREST]
    good = dict(calls) == {"MatMul": 1} and np.array_equal(counted["ids"], best)
    try:
        other = search("bytesandbrains.OnnxRuntimeBackend", inputs)
        print("onnxruntime:       ", other["ids"].tolist())
        good = good and np.array_equal(other["ids"], counted["ids"])
        good = good and np.allclose(other["scores"], counted["scores"], rtol=1e-5)
    except MissingExtra as error:
        print(error)
    try:
        bb.Compiler().bind({"index": ProductIndex}).compile(Searching())
        good = False
    except UnboundDependency as error:
        print("without a Backend:", error)
    print("component_with_dependency:", "ok" if good else "WRONG")
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
