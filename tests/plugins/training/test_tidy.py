"""A tidied graph computes the same with fewer nodes."""

from __future__ import annotations

import numpy as np
import onnx
from onnx import helper, parser
from onnx.reference import ReferenceEvaluator

from bb_plugins.training.tidy import tidied

TEXT = """g (float[2,2] x) => (float[2,2] y, float[2,2] z) {
    a = Exp(x)
    b = Exp(x)
    c = Identity(b)
    d = Add(a, c)
    e = Add(b, b)
    unused = Log(x)
    y = Identity(d)
    z = Mul(e, d)
}"""


def test_what_is_computed_twice_or_for_nobody_goes() -> None:
    graph = parser.parse_graph(TEXT)
    less = tidied(graph)
    assert [n.op_type for n in less.node] == ["Exp", "Add", "Identity", "Mul"]
    x = np.float32([[1, 2], [3, 4]])
    ends = []
    for each in (graph, less):
        model = helper.make_model(each, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)
        onnx.checker.check_model(model, full_check=True)
        ends.append(ReferenceEvaluator(model).run(None, {"x": x}))
    assert all(np.array_equal(a, b) for a, b in zip(*ends, strict=True))


def test_two_draws_stay_two() -> None:
    text = "g (float[4] x) => (float[4] y) { a = RandomUniformLike(x)\n b = RandomUniformLike(x)\n y = Sub(a, b) }"
    assert len(tidied(parser.parse_graph(text)).node) == 3
