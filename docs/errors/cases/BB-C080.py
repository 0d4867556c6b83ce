"""An op that has no gradient rule stands between the parameters and the loss."""

from onnx import helper, parser

from bb_plugins.training.gradients import gradients


def derived(text: str) -> object:
    graph = gradients(parser.parse_graph(text), of="loss", by=["w"], opset=21)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)


def wrong() -> object:
    # Wrong: the determinant has no rule.
    return derived("g (float[3,3] w) => (float loss) { loss = Det(w) }")


def right() -> object:
    return derived("g (float[3,3] w) => (float loss) { loss = ReduceSumSquare<keepdims=0>(w) }")
