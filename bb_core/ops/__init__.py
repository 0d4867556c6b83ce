"""Ops: what the framework declares, one OpSpec each, and what plugins declare theirs with."""

from bb_core.ops.spec import REQUIRED, Answer, Attribute, OpSpec, Port, SlotPort

__all__ = ["REQUIRED", "Answer", "Attribute", "OpSpec", "Port", "SlotPort"]
