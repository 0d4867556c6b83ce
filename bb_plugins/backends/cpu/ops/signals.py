"""Fourier transforms, in which a complex number is a last axis of length 2, and weights of mel bands."""

from __future__ import annotations

import numpy as np

from bb_plugins.backends.cpu.node import Array, Kernel, Node, element_type, scalar_of


def _complex(x: Array) -> Array:
    return x[..., 0] if x.shape[-1] == 1 else x[..., 0] + 1j * x[..., 1]


def _pairs(x: Array) -> Array:
    return np.stack([x.real, x.imag], -1)


def _transform(x: Array, count: int | None, axis: int, *, inverse: bool, onesided: bool) -> Array:
    axis = axis % x.ndim
    signal = _complex(x)
    if inverse and onesided:
        return np.fft.irfft(signal, count or 2 * (x.shape[axis] - 1), axis)[..., None].astype(x.dtype)
    if inverse:
        return _pairs(np.fft.ifft(signal, count, axis)).astype(x.dtype)
    found = np.fft.fft(signal, count, axis)
    if onesided:
        found = found.take(np.arange(found.shape[axis] // 2 + 1), axis)
    return _pairs(found).astype(x.dtype)


def dft(node: Node) -> Kernel:
    """Discrete Fourier transform along an axis that is an input."""
    inverse, onesided = node.flag("inverse"), node.flag("onesided")

    def run(x: Array, count: Array | None = None, axis: Array | None = None) -> Array:
        length = None if count is None else int(scalar_of(count, 0))
        return _transform(x, length, int(scalar_of(axis, -2)), inverse=inverse, onesided=onesided)

    return run


def dft_by_attribute(node: Node) -> Kernel:
    """Transform along an axis that is an attribute, as until opset 19."""
    inverse, onesided, axis = node.flag("inverse"), node.flag("onesided"), int(node.get("axis", 1))

    def run(x: Array, count: Array | None = None) -> Array:
        return _transform(
            x, None if count is None else int(scalar_of(count, 0)), axis, inverse=inverse, onesided=onesided
        )

    return run


def stft(node: Node) -> Kernel:
    """Transform stretches of a signal (n, length, 1 or 2), each weighted by a window."""
    onesided = node.flag("onesided", default=True)

    def run(x: Array, step: Array, window: Array | None = None, length: Array | None = None) -> Array:
        count = int(scalar_of(length, 0)) or (x.shape[1] if window is None else window.shape[0])
        hop = int(scalar_of(step, 1))
        starts = np.arange(1 + (x.shape[1] - count) // hop) * hop
        frames = x[:, starts[:, None] + np.arange(count)]
        if window is not None:
            frames = frames * window[:, None]
        return _transform(frames, count, 2, inverse=False, onesided=onesided).astype(x.dtype)

    return run


def mel_weights(node: Node) -> Kernel:
    """Weigh the bins of a spectrum into bands that are triangles on the mel scale."""
    to = element_type(int(node.get("output_datatype", 1)))

    def run(bands: Array, length: Array, rate: Array, lower: Array, upper: Array) -> Array:
        count, points = int(scalar_of(bands, 0)), int(scalar_of(length, 0))
        low, high = (2595 * np.log10(1 + float(scalar_of(v, 0.0)) / 700) for v in (lower, upper))
        mels = np.arange(count + 2) * (high - low) / (count + 2) + low
        hertz = 700 * (10 ** (mels / 2595) - 1)
        edges = ((points + 1) * hertz // int(scalar_of(rate, 1))).astype(np.int64)
        out = np.zeros((points // 2 + 1, count))
        for band, (left, top, right) in enumerate(zip(edges, edges[1:], edges[2:], strict=False)):
            out[left : top + 1, band] = np.arange(top - left + 1) / (top - left) if top > left else 1
            if right > top:
                out[top:right, band] = (right - np.arange(top, right)) / (right - top)
        return out.astype(to)

    return run
