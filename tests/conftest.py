"""What all tests share: property tests look at the same examples in every run."""

from __future__ import annotations

import os

from hypothesis import settings

# `repeatable` is for every day: a failure is a failure of the change, not of the dice. `BB_HYPOTHESIS=search` looks for
# new examples, and prints what reproduces one that fails.
settings.register_profile("repeatable", derandomize=True, deadline=None, database=None, max_examples=100)
settings.register_profile("search", deadline=None, database=None, max_examples=5_000, print_blob=True)
settings.load_profile(os.environ.get("BB_HYPOTHESIS", "repeatable"))
