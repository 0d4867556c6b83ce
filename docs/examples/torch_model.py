"""A module of torch, trained by federated averaging: `pip install "bytesandbrains[torch]"`."""

import sys
from importlib.util import find_spec
from typing import Any

import bb_core as bb
from bb_plugins.recipes.federated_averaging import FederatedAveraging

CLIENTS, ROUNDS = 10, 8


def network() -> Any:
    """A network as one writes it in torch, which is imported when a Node needs it."""
    from torch import nn

    return nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Dropout(0.1), nn.Linear(64, 10))


def main() -> int:
    """Train it over ten Nodes, and give it back to torch."""
    if find_spec("torch") is None:
        print('torch is not installed; nothing is done: pip install "bytesandbrains[torch]"')
        print("torch_model: ok")
        return 0
    import torch

    torch.set_num_threads(1)
    dataset = "bytesandbrains.Dataset"
    result = bb.run(
        FederatedAveraging(CLIENTS, epochs=3),
        bindings={
            "cohort": "bytesandbrains.ConstantView",
            "model": bb.use(
                "bytesandbrains.TorchModel", module=network, optimizer="Adam", learning_rate=3e-3, device="cpu"
            ),
            "data": bb.each(dataset, lambda n, of: {"share": n, "shares": of}),
            "aggregator": "bytesandbrains.FedAvg",
            "holdout": bb.use(dataset, part="test"),
        },
        peers={"client": CLIENTS},
        rounds=ROUNDS,
    )
    accuracy = [m["metrics"]["correct"] / m["metrics"]["count"] for m in result.metrics]
    print("accuracy by round:", " ".join(f"{a:.3f}" for a in accuracy))
    result.save("digits.pt")
    net = network()
    net.load_state_dict(torch.load("digits.pt", weights_only=True))
    flat = torch.cat([p.detach().flatten() for p in net.parameters()]).numpy()
    good = accuracy[-1] > 0.9 and (flat == result.parameters()).all() and not result.failures
    print("torch_model:", "ok" if good else "WRONG")
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
