"""Training of plain ONNX graphs: their gradients as standard ONNX, derived before anything runs.

| module             | what it has                                                                  |
|--------------------|------------------------------------------------------------------------------|
| `tape`             | `Tape`: writes nodes, and knows the shape and type of every value            |
| `rules`            | a gradient rule for each op; `plugin` registers them, as others do theirs    |
| `calls`            | ops that a model brings as functions, with rules of their own                |
| `prepare`          | a graph made ready: functions inlined, recurrent ops unrolled                |
| `gradients`        | `gradients`: the reverse walk                                                |
| `tidy`             | what is computed twice, or for nobody, goes                                  |
| `losses`           | losses behind a graph's output                                               |
| `trainable`        | `Trainable`: a model taken apart into parameters and graphs                  |
| `optimizers`       | optimizers on one flat vector                                                |
| `control_variates` | SCAFFOLD's, beside them                                                      |
"""
