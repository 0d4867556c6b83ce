"""Every site brings its own code: what is left late is bound at install, and checked again."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest

import bb_core as bb
from bb_core import errors
from bb_core.testing import Loopback
from tests.support import AVERAGING, Averaging, Everyone, Mean, Numbers, Weight, outputs, peer


def artefact() -> onnx.ModelProto:
    """A round whose clients bring their own data."""
    bindings = {k: v for k, v in AVERAGING.items() if k != "data"}
    return bb.Compiler().bind(bindings).compile(Averaging(2), late=["data"])


SITE = """
[slots.data]
concrete = "tests.Numbers"
config = { numbers = [2.0, 3.0] }

[slots.model]
config = { start = 1.0 }
"""


def test_a_site_brings_its_data_from_a_file() -> None:
    made = artefact()
    nodes = [bb.install(peer(0), [], made, ["Averaging"])]
    for n in (1, 2):
        nodes.append(bb.install(peer(n), [], made, ["Averaging@client"], bb.read_site(SITE)))
        nodes[0].add_peer(peer(n), peer_class="client")
    loopback = Loopback(nodes)
    loopback.invoke(peer(0), "Averaging", {"round": bb.TRIGGER})
    loopback.run_until_quiet()
    assert outputs(loopback.seen)["params"].tolist() == [5.0]


@bb.concrete("tests.Letters")
class Letters(Numbers):
    """A DataSource with another configuration."""


class Unnamed(bb.roles.DataSource):
    """Has no stable name, and needs none where it is bound at install."""

    def next_batch(self, ctx: bb.Context) -> tuple[bb.Tensor, bb.Tensor, bb.Record]:
        return np.ones(1, np.float32), np.ones(1, np.int64), bb.Record(num_samples=1, epoch_end=True)


@pytest.mark.parametrize("concrete", [Letters, Unnamed, "tests.Letters", bb.use(Letters, numbers=(1.0,))])
def test_a_late_slot_takes_a_class_a_name_or_a_use(concrete: Any) -> None:
    given = concrete if not isinstance(concrete, str) else bb.use(concrete)
    assert bb.install(peer(1), [], artefact(), ["Averaging@client"], {"data": given}).component("data")


REFUSED: list[tuple[str, dict[str, Any], type[Exception], str]] = [
    ("nothing", {}, errors.UnboundSlot, "left late"),
    ("another Role", {"data": bb.use(Weight)}, errors.RoleMismatch, "cannot fill the data_source slot"),
    ("an unknown name", {"data": bb.use("tests.Leters")}, errors.UnknownConcrete, "did you mean"),
    ("an unknown option", {"data": bb.use(Numbers, nubers=(1.0,))}, errors.ConfigError, "did you mean 'numbers'"),
    ("a slot that is not there", {"dta": bb.use(Numbers)}, errors.UnknownSlot, "did you mean 'data'"),
    ("a slot that is bound", {"data": bb.use(Numbers), "model": bb.use(Letters)}, errors.RoleMismatch, "late="),
]


@pytest.mark.parametrize(("config", "error", "says"), [r[1:] for r in REFUSED], ids=[r[0] for r in REFUSED])
def test_what_a_site_brings_is_checked(config: dict[str, Any], error: type[Exception], says: str) -> None:
    with pytest.raises(error, match=says):
        bb.install(peer(1), [], artefact(), ["Averaging@client"], config)


def test_one_artefact_serves_clients_only_coordinators_only_and_both() -> None:
    made = bb.Compiler().bind(AVERAGING).compile(Averaging(1))
    for targets in (["Averaging"], ["Averaging@client"], ["Averaging", "Averaging@client"]):
        assert bb.install(peer(0), [], made, targets).targets == tuple(targets)


def test_a_target_alone_needs_its_own_concretes_alone() -> None:
    made = bb.Compiler().bind({"model": Weight, "data": Numbers}).compile(Averaging(), targets=["Averaging@client"])
    assert bb.install(peer(1), [], made, ["Averaging@client"])
    with pytest.raises(errors.UnboundSlot):
        bb.install(peer(0), [], made, ["Averaging"])
    with pytest.raises((errors.UnboundSlot, errors.CompileErrors)):
        bb.Compiler().bind({"aggregator": Mean, "cohort": Everyone}).compile(Averaging(), targets=["Averaging@client"])


BAD_FILES = [
    ("not toml", "not TOML"),
    ("[slot.data]\nx = 1", "did you mean 'slots'"),
    ("slots = 3", "no table"),
    ("[slots]\ndata = 3", "is a int"),
    ("[slots.data]\nconcret = 'x'", "did you mean 'concrete'"),
    ("[slots.data]\nconfig = 3", "config of 'data'"),
]


@pytest.mark.parametrize(("text", "says"), BAD_FILES)
def test_a_sites_file_that_is_wrong_is_refused(text: str, says: str) -> None:
    with pytest.raises(errors.ConfigError, match=says):
        bb.read_site(text)
