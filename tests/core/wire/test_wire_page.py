"""What docs/reference/wire.md says in numbers is what the code does."""

from __future__ import annotations

import re
from dataclasses import astuple
from itertools import takewhile
from pathlib import Path

import numpy as np
import pytest

from bb_core.ids import fnv1a64
from bb_core.values import Record
from bb_core.wire import narrow, tensors, wire_types
from bb_core.wire.chunks import (
    RECEIPT_SITE,
    RECEIPT_WANTED_SITE,
    Chunk,
    Receipt,
    encode_chunk,
    write_receipt,
)
from bb_core.wire.limits import WireLimits
from bb_core.wire.payloads import TENSOR, encode_value
from tests.golden.load import envelopes
from tests.oracles import schema

PAGE = (Path(__file__).parents[3] / "docs" / "reference" / "wire.md").read_text(encoding="utf-8")
UNITS = {"MiB": 2**20, "KiB": 2**10, "": 1}


def examples() -> list[bytes]:
    """The bytes of the page's examples; what stands behind them on a line begins with a field's number."""
    blocks = re.findall(r"^```\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)
    return [b"".join(map(_line, block.splitlines())) for block in blocks]


def _line(line: str) -> bytes:
    line = re.sub(r"(\w\w) x (\d+)", lambda m: f"{m[1]} " * int(m[2]), line)
    return bytes.fromhex("".join(takewhile(re.compile(r"(?:[0-9a-f]{2})+$").match, line.split())))


def test_examples_are_true():
    tensor, record = np.array([1, 2], np.float32), Record(loss=0.5, num_samples=5)
    receipt = write_receipt(Receipt(1, 42, 17, 1, b"\x02"))
    values = [b"".join(encode_value(value)[1]) for value in (tensor, record, receipt)]
    chunk = b"".join(encode_chunk(Chunk(1, 3, 4, 10, TENSOR.type_hash, bytes((1, 2, 3, 4)))))
    announce = envelopes()["control_plane"]
    assert examples() == [envelopes()["request"], *values[:2], chunk, values[2], announce]


def test_the_sites_that_every_node_has_are_on_the_page():
    for site in (RECEIPT_SITE, RECEIPT_WANTED_SITE):
        assert f"`{site:#018x}`" in PAGE


def test_the_table_of_wire_types_is_complete():
    rows = re.findall(r"^\|.*\| `([\w:.]+)` \| `(0x\w{16})` \| (yes|no) \| yes \|$", PAGE, re.MULTILINE)
    assert {(name, int(number, 16), writes == "yes") for name, number, writes in rows} == {
        (wire_type.name, wire_type.type_hash, wire_type.encode is not None)
        for wire_type in wire_types._BY_HASH.values()
    }
    assert all(fnv1a64(name.encode()) == int(number, 16) for name, number, _ in rows)


def test_the_tables_of_element_types_are_those_of_the_code():
    section = PAGE.partition("### Tensors")[2].partition("### Records")[0]
    found = {}
    for names, numbers in re.findall(r"^\| type \|(.*)\|\n\|[-|]+\n\| number \|(.*)\|$", section, re.MULTILINE):
        found |= zip(map(int, numbers.split("|")), (name.strip() for name in names.split("|")), strict=True)
    assert found == {elem: dtype.name for elem, dtype in (tensors._DTYPES | narrow.dtypes()).items()}
    bits = re.findall(r"^\| number \|(.*)\|\n\| bits \|(.*)\|$", section, re.MULTILINE)
    assert [dict(zip(*(map(int, row.split("|")) for row in rows), strict=True)) for rows in bits] == [narrow.BITS]


def test_the_table_of_limits_is_that_of_the_code():
    section = PAGE.partition("### Limits")[2].partition("###")[0]
    rows = re.findall(r"\| (\d+) ?([MK]iB|) \| (\d+) ?([MK]iB|) \|$", section, re.MULTILINE)
    default = [int(number) * UNITS[unit] for number, unit, _, _ in rows]
    edge = [int(number) * UNITS[unit] for _, _, number, unit in rows]
    assert (default, edge) == (list(astuple(WireLimits())), list(astuple(WireLimits.edge())))


@pytest.mark.parametrize("name", ["WireEnvelope", "SlotFill", "WireCorrelation", "EdgeRttReport"])
def test_every_field_of_the_schema_is_in_a_table(name):
    for field in schema.messages()[name].DESCRIPTOR.fields:
        assert re.search(rf"^\| {field.number} \| `{field.name}` \|", PAGE, re.MULTILINE)
