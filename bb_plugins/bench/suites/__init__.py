"""The first-party suites, one module each. `bb bench` runs them; they are also plain pytest modules."""
