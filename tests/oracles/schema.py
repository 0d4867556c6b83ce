"""Google's protobuf classes for `envelope.proto`, made from the file itself, without protoc.

Only what that file uses is understood: messages and enums at the top level, one oneof, `repeated`, `//` comments.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

PROTO = Path(__file__).parents[2] / "bb_core" / "wire" / "envelope.proto"

_FIELD = re.compile(r"(repeated )?(\w+) (\w+) = (\d+);")
_NUMBER = re.compile(r"(\w+) = (\d+);")
_TYPE = descriptor_pb2.FieldDescriptorProto


def messages() -> dict[str, Any]:
    """The message classes by name."""
    file = _parse(re.sub(r"//.*", "", PROTO.read_text(encoding="utf-8")))
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return {
        message.name: message_factory.GetMessageClass(pool.FindMessageTypeByName(f"{file.package}.{message.name}"))
        for message in file.message_type
    }


def _parse(text: str) -> descriptor_pb2.FileDescriptorProto:
    package = re.search(r"package ([\w.]+);", text)
    assert package is not None
    file = descriptor_pb2.FileDescriptorProto(name=PROTO.name, package=package[1], syntax="proto3")
    for name, body in re.findall(r"^enum (\w+) \{(.*?)^\}", text, re.DOTALL | re.MULTILINE):
        enum = file.enum_type.add(name=name)
        for value, number in _NUMBER.findall(body):
            enum.value.add(name=value, number=int(number))
    for name, body in re.findall(r"^message (\w+) \{(.*?)^\}", text, re.DOTALL | re.MULTILINE):
        _add_message(file, name, body)
    return file


def _add_message(file: descriptor_pb2.FileDescriptorProto, name: str, body: str) -> None:
    message = file.message_type.add(name=name)
    oneof = re.search(r"oneof (\w+) \{(.*?)\}", body, re.DOTALL)
    if oneof:
        message.oneof_decl.add(name=oneof[1])
    enums = {enum.name for enum in file.enum_type}
    for repeated, kind, field, number in _FIELD.findall(body):
        added = message.field.add(name=field, number=int(number), label=3 if repeated else 1)
        if hasattr(_TYPE, f"TYPE_{kind.upper()}"):
            added.type = getattr(_TYPE, f"TYPE_{kind.upper()}")
        else:
            added.type = _TYPE.TYPE_ENUM if kind in enums else _TYPE.TYPE_MESSAGE
            added.type_name = f".{file.package}.{kind}"
        if oneof and f" {field} = " in oneof[2]:
            added.oneof_index = 0
