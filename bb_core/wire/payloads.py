"""Values to payloads and back. Import this and all wire types of the package are there.

| value                                               | travels as                            | module   |
|-----------------------------------------------------|---------------------------------------|----------|
| numpy array                                         | an ONNX TensorProto, `bb.tensor`      | tensors  |
| Record                                              | a small protobuf message, `bb.record` | records  |
| TRIGGER, PeerId, PeerList, RequestId, bytes         | the reference's carriers              | carriers |
| Address, AddressList, Composite                     | the reference's carriers              | carriers |

A value that is too large for one Envelope travels as several of `bb.chunk`, which module `chunks` cuts and joins.
`register` adds another. docs/reference/wire.md has the bytes of each.
"""

from __future__ import annotations

import numpy as np

from bb_core.values import Record
from bb_core.wire.carriers import CARRIERS
from bb_core.wire.chunks import CHUNK
from bb_core.wire.records import decode_record, encode_record
from bb_core.wire.tensors import decode_tensor, encode_tensor
from bb_core.wire.wire_types import WireType, add, decode_value, encode_value, register, travels

__all__ = ["CHUNK", "RECORD", "TENSOR", "WireType", "decode_value", "encode_value", "register", "travels"]

TENSOR = register("bb.tensor", np.ndarray, encode_tensor, decode_tensor)
RECORD = register("bb.record", Record, encode_record, decode_record)
for _carrier in CARRIERS:
    add(_carrier)
