"""`bb wire decode`, as a user types it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner, Result

import bb_core as bb
from bb_core import errors
from bb_core.cli import application
from bb_core.engine.backpressure import NOTICE_SITE
from bb_core.ids import component_id
from bb_core.inspection import envelopes
from bb_core.steps import SendEnvelope
from bb_core.values import Composite
from bb_core.wire.address import Address, site_suffix
from bb_core.wire.chunks import RECEIPT_SITE, RECEIPT_WANTED_SITE, Chunk, Receipt, write_receipt
from bb_core.wire.codec import EdgeRttReport, Envelope, Fill, encode
from bb_core.wire.payloads import TENSOR, encode_value
from tests.golden.load import envelopes as golden
from tests.oracles import schema
from tests.support import AVERAGING, Averaging, peer

ARTEFACT = bb.Compiler().bind(AVERAGING).compile(Averaging())


def a_round() -> bytes:
    """What a coordinator sends to a client."""
    node = bb.install(peer(0), [], ARTEFACT, ["Averaging"])
    node.add_peer(peer(1), peer_class="client")
    node.invoke("Averaging", {"round": bb.TRIGGER}, 5)
    return bytes(next(s for s in node.poll(5).steps if isinstance(s, SendEnvelope)).data)


ROUND = a_round()


def bb_command(*arguments: str) -> Result:
    return CliRunner().invoke(application(), ("wire", "decode", *arguments), catch_exceptions=True)


def fill(value: Any, suffix: bytes = site_suffix(17)) -> Fill:
    type_hash, payload, trigger_only = encode_value(value)
    return Fill(suffix, payload, trigger_only, type_hash)


@pytest.fixture
def there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with Envelopes and the artefact."""
    for name, data in golden().items():
        (tmp_path / f"{name}.bin").write_bytes(data)
        (tmp_path / f"{name}.hex").write_text(f"# {name}\n" + data.hex(" ", 4) + "\n", encoding="ascii")
    (tmp_path / "round.bin").write_bytes(ROUND)
    (tmp_path / "artefact.onnx").write_bytes(ARTEFACT.SerializeToString())
    monkeypatch.chdir(tmp_path)
    return tmp_path


def show(there: Path, envelope: Envelope) -> Result:
    (there / "this.bin").write_bytes(encode(envelope))
    return bb_command("this.bin")


def test_a_request_is_shown_with_every_offset(there: Path) -> None:
    told = bb_command("request.bin")
    assert told.exit_code == 0, told.output
    assert told.output == "\n".join(
        [
            "Envelope of 79 bytes",
            "   0  dest_peer_addresses  /p2p/16uZAbWC1AJvS",
            "  15  fills  34 bytes",
            "  17    dest_suffix  /site/17",
            "  29    payload  10 bytes: 2 bytes b'hi'",
            "  41    type_hash  0x1d82330cc10a293d, bb_runtime::syscall::values::BytesValue",
            "  51  correlation  4 bytes",
            "  53    kind  request",
            "  55    wire_req_id  42",
            "  57  remaining_deadline_ns  100 ms",
            "  62  schema_version  1",
            "  64  src_peer_addresses  /p2p/16uZAbWC1AJvL",
            "",
        ]
    )


@pytest.mark.parametrize("name", golden())
def test_hexadecimal_text_says_the_same(there: Path, name: str) -> None:
    told = bb_command(f"{name}.hex", "--hex")
    assert told.output == bb_command(f"{name}.bin").output
    assert told.exit_code in (0, 1), told.output


def test_standard_input_is_read(there: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shown = bb_command("request.bin").output
    raw = golden()["request"]
    assert CliRunner().invoke(application(), ("wire", "decode", "-"), input=raw).output == shown
    text = CliRunner().invoke(application(), ("wire", "decode", "--hex", "-"), input=raw.hex())
    assert text.output == shown


def test_values_of_every_kind_are_shown_in_short_form(there: Path) -> None:
    values = [
        np.arange(40, dtype=np.float32).reshape(8, 5),
        bb.Record(loss=0.5, num_samples=5, weights=np.zeros(3, np.int64)),
        Composite([b"x" * 40, bb.TRIGGER]),
        peer(7),
        bb.PeerList([peer(n) for n in range(10)]),
        Address.parse("/component/5/op/Ping"),
    ]
    told = show(there, Envelope(fills=map(fill, values)))
    assert told.exit_code == 0, told.output
    for line in (
        "float32[8, 5] 0.0 1.0 2.0 3.0 4.0 5.0 6.0 7.0 ... 32 more",
        "Record of 3",
        "loss  0.5",
        "weights  int64[3] 0 0 0",
        "0  40 bytes b'xxxxxxxxxxxxxxxxxxxxxxxx'...",
        "1  trigger",
        ": 16uZAbWC1AJvS",
        "PeerList(16uZAbWC1AJvK, ",
        "... 2 more)",
        ": /component/5/op/Ping",
        "bb.tensor",
    ):
        assert line in told.output, line


def test_with_an_artefact_sites_have_names(there: Path) -> None:
    told = bb_command("round.bin", "--artefact", "artefact.onnx")
    assert told.exit_code == 0, told.output
    edge = next(e for e in the_program().edges if not e.is_reply)
    port = next(iter(edge.values))
    assert f"/site/{edge.sites[0]}, {port} of edge {edge.name} at {edge.receiver}" in told.output
    assert "float32[1] 0.0" in told.output
    assert edge.receiver not in bb_command("round.bin").output


def the_program() -> Any:
    from bb_core.inspection import read_program

    return read_program(ARTEFACT)


def test_slots_and_the_site_of_notices_have_names(there: Path) -> None:
    suffix = Address.parse(f"/component/{component_id('aggregator')}/op/Join").to_bytes()
    notice = fill(bb.Record(), site_suffix(NOTICE_SITE))
    report = EdgeRttReport(site=the_program().edges[0].sites[0], samples=1)
    (there / "this.bin").write_bytes(encode(Envelope(fills=[fill(b"", suffix), notice], edge_rtt_reports=[report])))
    told = bb_command("this.bin", "--artefact", "artefact.onnx").output
    assert "/op/Join, aggregator" in told
    assert "a notice of backpressure" in told
    assert f"of edge {the_program().edges[0].name}" in told.partition("edge_rtt_reports")[2]


@pytest.mark.parametrize("name", golden())
def test_every_truncation_is_shown_as_far_as_it_can_be_read(there: Path, name: str) -> None:
    whole = [line.strip() for line in bb_command(f"{name}.bin").output.splitlines()]
    for end in range(0, len(golden()[name]), 7):
        (there / "cut.bin").write_bytes(golden()[name][:end])
        told = bb_command("cut.bin")
        lines = [line.strip() for line in told.output.splitlines()]
        if not isinstance(told.exception, errors.BBError):  # it was cut between two fields
            assert lines[1:] == whole[1 : len(lines)]
            continue
        assert isinstance(told.exception, errors.Truncated)
        at = next(i for i, line in enumerate(lines) if "[BB-R002]" in line)
        assert lines[1:at] == whole[1:at]
        assert f"from {told.exception.where} on" in lines[at]


def test_the_inside_of_a_fill_that_is_cut_is_shown(there: Path) -> None:
    (there / "cut.bin").write_bytes(golden()["request"][:40])
    told = bb_command("cut.bin")
    assert "fills  from byte 15 on: the bytes end inside a field: 23 of 34 bytes [BB-R002]" in told.output
    assert "dest_suffix  /site/17" in told.output
    assert "payload  from byte 29 on: the bytes end inside a field: 9 of 10 bytes [BB-R002]" in told.output


DAMAGED = {
    "version": (b"\x38\x02", "schema_version  2", errors.VersionMismatch),
    "field 0": (b"\x38\x01\x00\x01", "from byte 2 on: a field is malformed [BB-R001]", errors.EnvelopeError),
    "in a fill": (b"\x12\x02\x0e\x00\x38\x01", "from byte 2 on", errors.EnvelopeError),
    "after it": (b"\x12\x02\x0e\x00\x38\x01", "schema_version  1", errors.EnvelopeError),
    "long varint": (b"\x20" + b"\x80" * 10 + b"\x01", "from byte 0 on", errors.EnvelopeError),
    "too many fills": (b"\x12\x00" * 257, "fills  0 bytes", errors.CapExceeded),
    "key alone": (b"\x38\x01\x12", "from byte 2 on", errors.Truncated),
}


@pytest.mark.parametrize(("data", "shown", "kind"), DAMAGED.values(), ids=DAMAGED)
def test_what_a_node_would_refuse_is_shown_and_ends_with_the_error(
    there: Path, data: bytes, shown: str, kind: type[errors.BBError]
) -> None:
    (there / "this.bin").write_bytes(data)
    told = bb_command("this.bin")
    assert type(told.exception) is kind, told.output
    assert shown in told.output
    as_json = json.loads(bb_command("this.bin", "--json").output)
    assert as_json["error"]["code"] == kind.code


ODD = {
    "payload": (Envelope(fills=[Fill(site_suffix(1), b"x", False, fill(b"").type_hash)]), "[BB-R005]"),
    "type": (Envelope(fills=[Fill(site_suffix(1), b"x", False, 7)]), "of no known wire type"),
    "suffix": (Envelope(fills=[Fill(b"\x05", b"", True)]), "1 byte: an address has no segment 5"),
    "address": (Envelope(src_peer_addresses=[b"\xe2"]), "[BB-R006]"),
    "sender": (Envelope(src_peer=b"\x00"), "src_peer_bytes  1 byte: "),
}


@pytest.mark.parametrize(("envelope", "shown"), ODD.values(), ids=ODD)
def test_an_odd_part_of_a_legal_envelope_is_named_and_ends_with_status_1(
    there: Path, envelope: Envelope, shown: str
) -> None:
    told = show(there, envelope)
    assert told.exit_code == 1, told.output
    assert shown in told.output


def test_unknown_fields_and_kinds_are_shown(there: Path) -> None:
    (there / "this.bin").write_bytes(b"\x78\x05\x7a\x02ab\x7b\x08\x01\x7c\x79" + bytes(8) + b"\x1a\x02\x08\x09")
    told = bb_command("this.bin")
    assert told.exit_code == 0
    assert [line.split(maxsplit=1) for line in told.output.splitlines()[1:]] == [
        ["0", "field 15 is not known: a number 5"],
        ["2", "field 15 is not known: bytes 2 bytes"],
        ["6", "field 15 is not known: a group"],
        ["10", "field 15 is not known: eight bytes"],
        ["19", "correlation  2 bytes"],
        ["21", "kind  9, which means nothing"],
    ]


def test_a_trigger_needs_no_payload(there: Path) -> None:
    told = show(there, Envelope(fills=[Fill(site_suffix(1), b"junk", True)]))
    assert told.exit_code == 0
    assert "payload  4 bytes, not looked at" in told.output
    assert "trigger_only  true" in told.output


def test_what_a_peer_has_written_cannot_steer_a_terminal(there: Path) -> None:
    evil = "\x1b[2J\u202eevil\n"
    values = [
        bb.Record({evil: evil}),
        Composite([bb.Record({evil: evil})]),
        Address.parse(f"/op/{evil}x"),
        evil.encode(),
    ]
    told = show(there, Envelope(fills=map(fill, values)))
    assert told.exit_code == 0, told.output
    assert all(line.isprintable() for line in told.output.splitlines())
    assert "\\x1b[2J" in told.output
    assert "evil" in told.output


def test_json_has_every_field_and_its_place(there: Path) -> None:
    data = json.loads(bb_command("response.bin", "--json").output)
    assert data["bytes"] == 297
    assert data["error"] is None
    fields = data["fields"]
    assert [f["at"] for f in fields] == [0, *(f["end"] for f in fields[:-1])]
    assert fields[-1]["end"] == 297
    fills = [f for f in fields if f["name"] == "fills"]
    assert [inner["name"] for inner in fills[1]["fields"]] == ["dest_suffix", "payload", "type_hash"]
    assert [v["text"] for v in fills[1]["fields"][1]["fields"]] == ["2 bytes b'hi'", "trigger"]


def test_lines_are_whole_on_a_narrow_console(there: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wide = bb_command("response.bin").output
    monkeypatch.setenv("COLUMNS", "30")
    assert bb_command("response.bin").output == wide


@pytest.mark.parametrize(
    ("arguments", "kind"),
    [
        (("nothing.bin",), errors.LoadError),
        (("request.bin", "--hex"), errors.LoadError),
        (("request.bin", "--artefact", "nothing.onnx"), errors.LoadError),
        (("request.bin", "--artefact", "tests.support:Averaging"), errors.LoadError),
    ],
)
def test_misuse_is_named(there: Path, arguments: tuple[str, ...], kind: type[Exception]) -> None:
    told = bb_command(*arguments)
    assert isinstance(told.exception, kind), told.output


@pytest.mark.parametrize(
    ("message", "table"),
    [
        ("WireEnvelope", envelopes._ENVELOPE),
        ("SlotFill", {**envelopes._FILL, (2, 2): ("payload", None)}),
        ("WireCorrelation", envelopes._CORRELATION),
        ("EdgeRttReport", envelopes._REPORT),
    ],
)
def test_fields_are_called_as_in_the_schema(message: str, table: Any) -> None:
    fields = schema.messages()[message].DESCRIPTOR.fields
    assert {(f.number, f.name) for f in fields} == {(number, name) for (number, _), (name, _) in table.items()}


def test_chunks_and_receipts_are_told_as_what_they_are(there: Path) -> None:
    part = fill(Chunk(1, 3, 4, 10, TENSOR.type_hash, b"1234"))
    receipt = fill(write_receipt(Receipt(1, 42, 17, 1)), site_suffix(RECEIPT_SITE))
    wish = fill(bb.TRIGGER, site_suffix(RECEIPT_WANTED_SITE))
    (there / "parts.bin").write_bytes(encode(Envelope(fills=(wish, part, receipt), kind=1, request=42)))
    told = bb_command("parts.bin").output
    assert "asks for a receipt" in told
    assert "chunk 2 of 3: bytes 4 to 8 of 10 of bb.tensor" in told
    assert ", a receipt" in told
