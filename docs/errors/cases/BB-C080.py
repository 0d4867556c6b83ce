"""An op that has no gradient rule stands between the parameters and the loss."""

from onnx import parser

from bb_plugins.training.gradients import gradients


def wrong() -> object:
    # Wrong: the determinant has no rule.
    graph = parser.parse_graph("g (float[3,3] w) => (float loss) { loss = Det(w) }")
    return gradients(graph, of="loss", by=["w"], opset=21)


def right() -> object:
    graph = parser.parse_graph("g (float[3,3] w) => (float loss) { loss = ReduceSumSquare<keepdims=0>(w) }")
    return gradients(graph, of="loss", by=["w"], opset=21)
