"""`bring_up`: a program's Nodes, installed and joined, for a test."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from bb_core.compiler.driver import Compiler
from bb_core.dsl.module import Module
from bb_core.ids import PeerId
from bb_core.node.config import NodeConfig
from bb_core.node.installing import install
from bb_core.testing.loopback import Loopback, Network


def bring_up(
    module: Module,
    bindings: Mapping[str, Any],
    peers: Mapping[str, int] | None = None,
    *,
    network: Network | None = None,
    seed: int = 0,
    options: NodeConfig | None = None,
) -> Loopback:
    """Compile a program, install it on Nodes and join them.

    Args:
        module: The program.
        bindings: By slot path, a Concrete, its name, or `bb.use(...)`.
        peers: How many Nodes of each class there are; `{"client": 3}`. The class `""` is the Module's own.
        network: How the network behaves.
        seed: Of the network, and of the Nodes unless `options` are given.
        options: Of each Node.

    Returns:
        The Nodes: number 0 is of the Module's own class, the others follow in the order of `peers`. Each knows all
        others.
    """
    artefact = Compiler().bind(bindings).compile(module)
    given = dict(peers or {})
    classes = ["", *[name for name, count in given.items() for _ in range(count - (name == ""))]]
    ids = [PeerId.from_int(n) for n in range(len(classes))]
    config = options or NodeConfig(seed=seed)
    nodes = []
    for own, peer_class in zip(ids, classes, strict=True):
        node = install(
            own, [], artefact, [f"{module.name}@{peer_class}" if peer_class else module.name], options=config
        )
        for other, its_class in zip(ids, classes, strict=True):
            if other != own:
                node.add_peer(other, peer_class=its_class)
        nodes.append(node)
    return Loopback(nodes, network, seed)
