"""Gradient rules: for each op, what its inputs' gradients are, given those of its outputs (vector-Jacobian products).

A rule is a function `(tape, node, grads)`: it writes standard ONNX ops to the tape and returns, for each of the node's
inputs, the name of its gradient, or None where there is none. `grads` has one name for each output, None where nothing
flows back. They come in by the hook `bb_register_gradients`, ours and those of other plugins alike; whatever has none,
and a function body in the ONNX standard, is inlined before gradients are derived.

Source: Griewank and Walther, Evaluating Derivatives (2008), chapter 3; the rule of each op follows from its text in the
ONNX operator reference.
"""

from __future__ import annotations

from importlib import import_module

from bb_plugins.training.rules.table import CONSTANT, RULES, Grads, Rule, find_rule, lets_nothing_through, rule, saves

for _family in ("elementwise", "linear", "losses", "normalisation", "reductions", "shaping", "windows"):
    import_module(f"bb_plugins.training.rules.{_family}")

__all__ = ["CONSTANT", "RULES", "Grads", "Rule", "find_rule", "lets_nothing_through", "rule", "saves"]
