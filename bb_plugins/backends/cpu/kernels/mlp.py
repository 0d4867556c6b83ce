"""A multilayer perceptron's forward, loss and backward over flat arrays.

Shape:
    sizes (L+1,) i64: width of the input and of each layer · params, grads (d,) f32: for each layer its weight
    (n_in, n_out) row by row, then its bias (n_out,) · x (b, sizes[0]) f32 · acts, deltas (b * sum(sizes[1:]),) f32: for
    each layer (b, n_out)
"""

from __future__ import annotations

import numpy as np

from bb_plugins.backends.cpu.kernels._jit import kernel


@kernel
def mlp_forward(params, sizes, x, acts):
    """Write every layer's activation: ReLU in the hidden ones, none in the last."""
    rows = x.shape[0]
    at, to = 0, 0
    source = x
    last = sizes.shape[0] - 2
    for layer in range(last + 1):
        n_in, n_out = sizes[layer], sizes[layer + 1]
        weight = params[at : at + n_in * n_out].reshape(n_in, n_out)
        bias = params[at + n_in * n_out : at + (n_in + 1) * n_out]
        out = acts[to : to + rows * n_out].reshape(rows, n_out)
        np.dot(source, weight, out)
        for r in range(rows):
            for c in range(n_out):
                value = out[r, c] + bias[c]
                out[r, c] = value if layer == last or value > 0 else np.float32(0)
        source = out
        at += (n_in + 1) * n_out
        to += rows * n_out


@kernel
def softmax_cross_entropy(logits, labels, grad):
    """Return the mean loss of integer labels, and write its gradient by the logits (b, c).

    A label outside 0..c-1 makes the loss NaN, so that it cannot go unseen.
    """
    rows, classes = logits.shape
    total = 0.0
    for r in range(rows):
        highest = logits[r, 0]
        for c in range(1, classes):
            highest = max(highest, logits[r, c])
        norm = np.float32(0)
        for c in range(classes):
            grad[r, c] = np.exp(logits[r, c] - highest)
            norm += grad[r, c]
        label = labels[r]
        if label < 0 or label >= classes:
            return np.float32(np.nan)
        total += np.log(norm) + highest - logits[r, label]
        for c in range(classes):
            grad[r, c] /= norm * rows
        grad[r, label] -= np.float32(1) / rows
    return np.float32(total / rows)


@kernel
def mlp_backward(params, sizes, x, acts, deltas, grads):
    """Write the gradients by the parameters, given the one by the last activation at the end of `deltas`."""
    rows = x.shape[0]
    at, to = params.shape[0], 0
    for layer in range(1, sizes.shape[0]):
        to += rows * sizes[layer]
    for layer in range(sizes.shape[0] - 2, -1, -1):
        n_in, n_out = sizes[layer], sizes[layer + 1]
        at -= (n_in + 1) * n_out
        to -= rows * n_out
        delta = deltas[to : to + rows * n_out].reshape(rows, n_out)
        source = x if layer == 0 else acts[to - rows * n_in : to].reshape(rows, n_in)
        np.dot(source.T, delta, grads[at : at + n_in * n_out].reshape(n_in, n_out))
        bias = grads[at + n_in * n_out : at + (n_in + 1) * n_out]
        bias[:] = 0
        for r in range(rows):
            for c in range(n_out):
                bias[c] += delta[r, c]
        if layer > 0:
            weight = params[at : at + n_in * n_out].reshape(n_in, n_out)
            before = deltas[to - rows * n_in : to].reshape(rows, n_in)
            np.dot(delta, weight.T, before)
            for r in range(rows):
                for c in range(n_in):
                    if source[r, c] <= 0:
                        before[r, c] = 0


@kernel
def mlp_train(plan, x, labels, batch_size):
    """Step through the rows of x in batches, the last one short; return the sum of the examples' losses.

    `plan` is a `bb_plugins.models.mlp.Plan`.
    """
    total = 0.0
    classes = plan.sizes[-1]
    for start in range(0, x.shape[0], batch_size):
        part = x[start : start + batch_size]
        rows = part.shape[0]
        mlp_forward(plan.params, plan.sizes, part, plan.acts)
        to = 0
        for layer in range(1, plan.sizes.shape[0] - 1):
            to += rows * plan.sizes[layer]
        logits = plan.acts[to : to + rows * classes].reshape(rows, classes)
        grad = plan.deltas[to : to + rows * classes].reshape(rows, classes)
        total += rows * softmax_cross_entropy(logits, labels[start : start + batch_size], grad)
        mlp_backward(plan.params, plan.sizes, part, plan.acts, plan.deltas, plan.grads)
        sgd(plan.params, plan.grads, plan.velocity, plan.rate[0], plan.rate[1])
    return total


@kernel
def sgd(params, grads, velocity, rate, momentum):
    """Step once: velocity = momentum * velocity + grads, params -= rate * velocity (Polyak 1964)."""
    if momentum == 0:
        for i in range(params.shape[0]):
            params[i] -= rate * grads[i]
        return
    for i in range(params.shape[0]):
        velocity[i] = momentum * velocity[i] + grads[i]
        params[i] -= rate * velocity[i]
