"""The Node's address book."""

from __future__ import annotations

from typing import Final

from bb_core import keys
from bb_core import types as t
from bb_core.ops.spec import OpSpec, Port

_PEER: Final = Port("peer", t.PEER_ID)
_DONE: Final = (Port("done", t.TRIGGER),)

INSERT: Final = OpSpec(
    keys.ADDRESS_BOOK,
    "Insert",
    1,
    (_PEER, Port("address", t.ADDRESS)),
    _DONE,
    record="address_book.insert",
    doc="Add an address of a peer; one that is there already changes nothing.",
)
INSERT_MANY: Final = OpSpec(
    keys.ADDRESS_BOOK,
    "InsertMany",
    1,
    (_PEER, Port("addresses", t.ADDRESS_LIST)),
    _DONE,
    record="address_book.insert_many",
    doc="Add addresses of a peer, in order of preference.",
)
LOOKUP: Final = OpSpec(
    keys.ADDRESS_BOOK,
    "Lookup",
    1,
    (_PEER,),
    (Port("addresses", t.ADDRESS_LIST),),
    record="address_book.lookup",
    doc="Give the addresses of a peer; fails when none is known.",
)

ADDRESS_OPS: Final = (INSERT, INSERT_MANY, LOOKUP)
