"""If, Loop and Scan: ops whose attributes are graphs. What the graphs take from outside follows the inputs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from bb_plugins.backends.cpu.node import Array, Kernel, Node, scalar_of

if TYPE_CHECKING:
    from bb_plugins.backends.cpu.graph import Body


def _body(node: Node, name: str) -> Body:
    from bb_plugins.backends.cpu.graph import Body

    return Body(node.attributes[name], node.opsets, tuple(node.get("captures", ())))


def if_(node: Node) -> Kernel:
    """Run one of two graphs."""
    yes, no = _body(node, "then_branch"), _body(node, "else_branch")
    return lambda condition, *taken: tuple((yes if scalar_of(condition, False) else no).run((), taken))


def loop(node: Node) -> Kernel:
    """Run a graph again and again, on what it gave the last time; values that it gives beside are stacked."""
    body = _body(node, "body")

    def run(limit: Array | None, condition: Array | None, *rest: Any) -> tuple[Any, ...]:
        cut = len(rest) - len(body.captures)
        carried, taken = list(rest[:cut]), rest[cut:]
        most = None if limit is None else int(scalar_of(limit, 0))
        going, at = bool(scalar_of(condition, True)), 0
        stacks: list[list[Any]] = [[] for _ in range(body.n_outputs - 1 - len(carried))]
        while going and (most is None or at < most):
            found = body.run((np.array(at, np.int64), np.array(going), *carried), taken)
            going, carried = bool(scalar_of(found[0], True)), found[1 : 1 + len(carried)]
            for stack, value in zip(stacks, found[1 + len(carried) :], strict=True):
                stack.append(value)
            at += 1
        first = 1 + len(carried)
        return *carried, *(_stacked(s, body, first + i) for i, s in enumerate(stacks))

    return run


def _stacked(values: list[Any], body: Body, output: int, axis: int = 0) -> Array:
    return np.stack(values, axis) if values else body.empty(output)


def scan(node: Node) -> Kernel:
    """Run a graph along an axis of some inputs, with state from one place to the next."""
    body, count = _body(node, "body"), int(node.attributes["num_scan_inputs"])
    axes, ways = node.ints("scan_input_axes") or (0,) * count, node.ints("scan_input_directions") or (0,) * count
    out_axes, out_ways = node.ints("scan_output_axes"), node.ints("scan_output_directions")

    def run(*given: Any) -> tuple[Any, ...]:
        cut = len(given) - len(body.captures)
        state, taken = list(given[: cut - count]), given[cut:]
        scanned = [
            np.moveaxis(np.flip(x, axis) if way else x, axis, 0)
            for x, axis, way in zip(given[cut - count : cut], axes, ways, strict=True)
        ]
        n_state = len(state)
        stacks: list[list[Any]] = [[] for _ in range(body.n_outputs - n_state)]
        for at in range(len(scanned[0])):
            found = body.run((*state, *(np.asarray(x[at]) for x in scanned)), taken)
            state = found[:n_state]
            for stack, value in zip(stacks, found[n_state:], strict=True):
                stack.append(value)
        outs = []
        for i, stack in enumerate(stacks):
            back = out_ways is not None and out_ways[i]
            outs.append(_stacked(stack[::-1] if back else stack, body, n_state + i, out_axes[i] if out_axes else 0))
        return *state, *outs

    return run


def scan_of_batch(node: Node) -> Kernel:
    """Scan as in opset 8: each example of a batch for itself, over axis 1, whose length an input may say."""
    body, count = _body(node, "body"), int(node.attributes["num_scan_inputs"])
    ways = node.ints("directions") or (0,) * count

    def run(lengths: Array | None, *given: Any) -> tuple[Any, ...]:
        cut = len(given) - len(body.captures)
        n_state, taken = cut - count, given[cut:]
        rows = []
        for row in range(given[0].shape[0]):
            state = [np.asarray(v[row]) for v in given[:n_state]]
            length = given[n_state].shape[1] if lengths is None else int(lengths[row])
            scanned = [
                x[row, :length][::-1] if w else x[row, :length] for x, w in zip(given[n_state:cut], ways, strict=True)
            ]
            stacks: list[list[Any]] = [[] for _ in range(body.n_outputs - n_state)]
            for at in range(length):
                found = body.run((*state, *(np.asarray(x[at]) for x in scanned)), taken)
                state = found[:n_state]
                for stack, value in zip(stacks, found[n_state:], strict=True):
                    stack.append(value)
            rows.append([*state, *(np.stack(s) for s in stacks)])
        return tuple(np.stack(v) for v in zip(*rows, strict=True))

    return run


def sequence_map(node: Node) -> Kernel:
    """Run a graph on each element of a sequence; what is no sequence is the same each time."""
    body = _body(node, "body")

    def run(*given: Any) -> tuple[list[Any], ...]:
        cut = len(given) - len(body.captures)
        inputs, taken = given[:cut], given[cut:]
        outs: list[list[Any]] = [[] for _ in range(body.n_outputs)]
        for at in range(len(inputs[0])):
            found = body.run([v[at] if isinstance(v, list) else v for v in inputs], taken)
            for out, value in zip(outs, found, strict=True):
                out.append(value)
        return tuple(outs)

    return run
