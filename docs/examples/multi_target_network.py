"""Three classes of peers and one artefact: a coordinator asks its edges, each edge asks its own sensors."""

import sys

import numpy as np

import bb_core as bb
from bb_core.steps import AppEvent
from bb_core.testing import Loopback

SENSORS = {1: (3, 4), 2: (5,)}  # edge -> its sensors


@bb.concrete("examples.Sensor")
class Sensor(bb.roles.DataSource):
    """Gives one reading: the number of its peer."""

    def next_batch(self, ctx: bb.Context) -> tuple[bb.Tensor, bb.Tensor, bb.Record]:
        """Read."""
        number = next(n for n in range(10) if bb.PeerId.from_int(n) == ctx.peer_id)
        return np.array([number], np.float32), np.zeros(1, np.int64), bb.Record(num_samples=1)


class Survey(bb.Module):
    """Collect the readings of all sensors, by way of the edges."""

    edges = bb.PeerSelectorSlot(peer_class="edge")
    sensors = bb.PeerSelectorSlot(peer_class="sensor")
    reading = bb.DataSourceSlot()

    def body(self, g: bb.Graph) -> None:
        """Record it: what follows a send runs where the value is received."""
        start = g.input("start", bb.types.TRIGGER)
        at_edge = g.send(start, to=self.edges.current_view(g, after=start))
        at_sensor = g.send(at_edge, to=self.sensors.current_view(g, after=at_edge))
        batch, _, _ = self.reading.next_batch(g, after=at_sensor)
        readings = g.gather(g.reply(batch, to=at_sensor), deadline="5s")  # at the edge, one list
        totals = g.gather(g.reply(g.stack(readings), to=at_edge), deadline="20s")  # at the coordinator
        g.output("readings", totals)
        g.output("edges", totals.senders)


def main() -> int:
    """Compile once; install another target of the same artefact on each Node."""
    view = "bytesandbrains.ConstantView"
    artefact = bb.Compiler().bind({"edges": view, "sensors": view, "reading": Sensor}).compile(Survey())
    print("targets:", ", ".join(f.name for f in artefact.functions))

    peers = {n: bb.PeerId.from_int(n) for n in range(6)}
    nodes = {0: bb.install(peers[0], [], artefact, ["Survey"])}
    for edge, sensors in SENSORS.items():
        nodes[edge] = bb.install(peers[edge], [], artefact, ["Survey@edge"])
        nodes[0].add_peer(peers[edge], peer_class="edge")
        for sensor in sensors:
            nodes[sensor] = bb.install(peers[sensor], [], artefact, ["Survey@sensor"])
            nodes[edge].add_peer(peers[sensor], peer_class="sensor")

    network = Loopback(list(nodes.values()))
    network.invoke(peers[0], "Survey", {"start": bb.TRIGGER})
    network.run_until_quiet()
    given = {s.step.port: s.step.value for s in network.seen if isinstance(s.step, AppEvent)}
    found = {n: [float(v) for v in given["readings"][i].ravel()] for i, n in enumerate(SENSORS)}
    print("readings by edge:", found, f"in {network.envelopes} Envelopes")
    good = (
        found == {1: [3.0, 4.0], 2: [5.0]} and list(given["edges"]) == [peers[1], peers[2]] and network.envelopes == 10
    )
    print("multi_target_network:", "ok" if good else "WRONG")
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
