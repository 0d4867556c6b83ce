"""`bb run`: a program in one process, round by round, until a rule ends it."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from time import monotonic_ns
from typing import TYPE_CHECKING, Annotated, Any, Final

import numpy as np
import typer
from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table

import bb_core as bb
from bb_core.errors import UsageError

if TYPE_CHECKING:  # every `bb` reads this file, and it loads onnx
    from bb_core.commands.loading import Loaded
    from bb_plugins.protocols.stopping import StopRule

_RULES: Final = frozenset({"rounds", "measure", "target", "seconds", "patience", "least"})
_MOST: Final = 100
"""Rounds after which a run without a rule ends."""


def run_program(
    what: Annotated[str, typer.Argument(help="recipe:Name, app.py:Module, package.module:Module, or a built .onnx.")],
    peers: Annotated[
        str, typer.Option(help="How many peers there are of the other class, or client=20,edge=2.")
    ] = "10",
    until: Annotated[
        str, typer.Option(help="rounds=50, accuracy=0.95, loss=0.1, seconds=60, patience=5; several with commas.")
    ] = "rounds=20",
    bind: Annotated[list[str], typer.Option("--bind", help="slot=Concrete, or slot=model.onnx for a Model.")] = [],  # noqa: B006  # typer's way of a repeatable option
    options: Annotated[list[str], typer.Option("--set", help="slot.option=value: one option of what is bound.")] = [],  # noqa: B006
    arguments: Annotated[list[str], typer.Option("--with", help="name=value: an argument of the Module.")] = [],  # noqa: B006
    seed: Annotated[int, typer.Option(help="Of every random number; equal seeds give equal bytes.")] = 0,
    save: Annotated[Path | None, typer.Option(help="Write the trained model to this file.")] = None,
    slot: Annotated[str, typer.Option(help="Whose Model is saved and hashed.")] = "model",
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object and nothing else.")] = False,
) -> None:
    """Run a program on Nodes in this process, round by round; a recipe (`recipe:FederatedAveraging`) needs no file."""
    from bb_core.commands.loading import load
    from bb_plugins.protocols.stopping import StopRule

    rule = StopRule.parse(until)
    if seed < 0:
        raise UsageError(f"--seed {seed}", expected="0 or more")
    if save is not None and not save.resolve().parent.is_dir():
        raise UsageError(f"--save: there is no directory {str(save.resolve().parent)!r}", hint="create it first")
    loaded = load(what, _arguments(arguments))
    if loaded.is_compiled:
        raise UsageError(f"{what} is compiled already", expected="a Module, or a model that is only built")
    counts = _counts(peers)
    console = Console(stderr=as_json, quiet=as_json)
    with _progress(console) as progress:
        task = progress.add_task("compiling")

        def show(done: bb.Round, value: float | None) -> None:
            told = "" if value is None else f", {rule.measure} {value:.4f}"
            progress.update(task, description=f"round {done.number}{told}")

        result, reason = run_loaded(loaded, _bindings(loaded, bind, options), counts, rule, seed, show)
    if save is not None:
        result.save(str(save), slot)
    if as_json:
        typer.echo(json.dumps(_facts(result, rule, reason, slot), default=_plain))
    else:
        _report(what, result, rule, reason, slot, save, console)


def run_loaded(
    loaded: Loaded,
    bindings: Mapping[str, Any],
    peers: Mapping[str, int] | int,
    rule: StopRule,
    seed: int = 0,
    on_round: Callable[[bb.Round, float | None], None] | None = None,
    options: bb.NodeConfig | None = None,
) -> tuple[bb.RunResult, str]:
    """Run a loaded program until a rule ends it.

    Args:
        loaded: The program, with its own bindings.
        bindings: What fills its slots. Where the Concrete of `data` knows what it holds out, as Dataset does, `holdout`
            needs none; one with the options `share` and `shares` is dealt among the peers of its class.
        peers: How many there are, by class; or of the one other class.
        rule: When to end. A program that repeats itself is told it by its slot `stop`.
        seed: Of every random number.
        on_round: Called after each round, with the measure of the rule.
        options: Of every Node.

    Returns:
        What the run gave, and why it ended.
    """
    from bb_core.commands.loading import with_defaults
    from bb_plugins.protocols.stopping import Judge

    program = loaded.program
    module = program if isinstance(program, bb.Module) else bb.Module.from_proto(program)
    given = with_defaults(loaded, {path: _as_use(b) for path, b in bindings.items()})
    bindings = _numbered(_measured(loaded, _stopping(module, rule, given)))
    judge, reason = Judge(rule), ""

    def after(done: bb.Round) -> bool:
        nonlocal reason
        metrics = _metrics(done.outputs)
        reason = judge(metrics, monotonic_ns())
        if on_round is not None:
            on_round(done, rule.value(metrics))
        return bool(reason)

    rounds = 1 if _repeats(module) else rule.rounds or (10**9 if rule.ends else _MOST)
    result = bb.run(module, bindings=bindings, peers=peers, rounds=rounds, seed=seed, options=options, on_round=after)
    ended = result.metrics[-1].get("ended", {})
    return result, str(ended.get("reason", "")) or reason or f"{len(result.metrics)} rounds are done"


# --- what is given ----------------------------------------------------------------------------------------------------


def _arguments(texts: list[str]) -> dict[str, Any]:
    found = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals or not name.isidentifier():
            raise UsageError(f"--with {text}", expected="--with name=value, such as --with epochs=2")
        try:
            found[name] = json.loads(value)
        except json.JSONDecodeError:
            found[name] = value
    return found


def _counts(text: str) -> int | dict[str, int]:
    try:
        if "=" not in text:
            return int(text)
        pairs = (part.partition("=") for part in text.split(","))
        return {name.strip(): int(count) for name, _, count in pairs}
    except ValueError:
        raise UsageError(f"--peers {text}", expected="a number, or client=20,edge=2") from None


def _bindings(loaded: Loaded, bind: list[str], options: list[str]) -> dict[str, Any]:
    from bb_core.commands.loading import bindings_for

    named, models = _models(bind)
    return bindings_for(loaded, named, [*models, *options])


def _as_use(binding: Any) -> Any:
    return bb.use(binding) if isinstance(binding, str | type) else binding


def _models(bind: list[str]) -> tuple[list[str], list[str]]:
    """Let `slot=file.onnx` mean a GraphModel of that file."""
    named, options = [], []
    for text in bind:
        path, _, value = text.partition("=")
        if value.endswith(".onnx"):
            if not Path(value).is_file():
                raise UsageError(f"--bind {text}: there is no file {value!r}")
            named.append(f"{path}=bytesandbrains.GraphModel")
            options.append(f"{path}.path={json.dumps(str(Path(value).resolve()))}")
        else:
            named.append(text)
    return named, options


def _stopping(module: bb.Module, rule: StopRule, bindings: Mapping[str, Any]) -> dict[str, Any]:
    """Let a program that repeats itself end by the rule of the run, where its slot `stop` has none of its own."""
    stop = bindings.get("stop")
    if not _repeats(module) or not isinstance(stop, bb.Use) or stop.config or not _fields(stop) >= _RULES:
        return dict(bindings)
    return {**bindings, "stop": bb.Use(stop.concrete, {name: getattr(rule, name) for name in sorted(_RULES)})}


def _measured(loaded: Loaded, bindings: Mapping[str, Any]) -> dict[str, Any]:
    """Let `holdout`, where nobody fills it, be what the data set in `data` holds out."""
    found = dict(bindings)
    data = found.get("data")
    if "holdout" in loaded.slots and "holdout" not in found and isinstance(data, bb.Use) and _fields(data) >= {"part"}:
        found["holdout"] = bb.Use(data.concrete, {**_options_of(data), "part": "test"})
    return found


def _numbered(bindings: Mapping[str, Any]) -> dict[str, Any]:
    """Deal by the options `share` and `shares`: who has them gets the peer's number, and how many peers there are."""
    found = dict(bindings)
    for path, given in bindings.items():
        if isinstance(given, bb.Use) and _fields(given) >= {"share", "shares"}:
            options = _options_of(given)
            if not {"share", "shares"} & set(options):
                found[path] = bb.each(given.concrete, _dealer(options))
    return found


def _dealer(options: Mapping[str, Any]) -> Callable[[int, int], dict[str, Any]]:
    return lambda number, count: {**options, "share": number, "shares": count}


def _options_of(given: bb.Use) -> dict[str, Any]:
    config: Any = given.config
    if config is None or isinstance(config, dict):
        return dict(config or {})
    return {f.name: getattr(config, f.name) for f in dataclasses.fields(config)}


def _fields(given: bb.Use) -> set[str]:
    """The options that a Concrete has."""
    from bb_core.plugins import installed_plugins

    cls: Any = installed_plugins().resolve(given.concrete) if isinstance(given.concrete, str) else given.concrete
    return {f.name for f in dataclasses.fields(cls.Config)} if dataclasses.is_dataclass(cls.Config) else set()


def _repeats(module: bb.Module) -> bool:
    return bool(getattr(module, "repeats", False))


# --- what comes out ---------------------------------------------------------------------------------------------------


def _metrics(outputs: Mapping[str, Any]) -> Mapping[str, Any]:
    """That by which a round is measured: the Record `metrics`, or the first Record, or the numbers themselves."""
    if isinstance(outputs.get("metrics"), Mapping):
        return dict(outputs["metrics"])
    records = [value for value in outputs.values() if isinstance(value, Mapping)]
    if records:
        return dict(records[0])
    return {name: float(value) for name, value in outputs.items() if getattr(value, "size", 0) == 1}


def _progress(console: Console) -> Progress:
    columns = (SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
    return Progress(*columns, console=console, transient=True, disable=not console.is_terminal)


def _facts(result: bb.RunResult, rule: StopRule, reason: str, slot: str) -> dict[str, Any]:
    values = [rule.value(_metrics(outputs)) for outputs in result.metrics]
    return {
        "rounds": len(result.metrics),
        "ended": reason,
        rule.measure: values,
        "outputs": result.metrics[-1],
        "envelopes": result.envelopes,
        "bytes_on_wire": result.bytes_on_wire,
        "failures": [str(f) for f in result.failures],
        "parameters_sha256": _hash(result, slot),
    }


def _hash(result: bb.RunResult, slot: str) -> str | None:
    try:
        return result.parameters_sha256(slot)
    except (bb.errors.BBError, NotImplementedError):  # a program may have no Model, or one without parameters
        return None


def _report(
    what: str, result: bb.RunResult, rule: StopRule, reason: str, slot: str, save: Path | None, console: Console
) -> None:
    values = [rule.value(_metrics(outputs)) for outputs in result.metrics]
    table = Table(title=what, show_header=False, title_justify="left")
    known = [v for v in values if v is not None]
    if known:
        best = (min if rule.lower_is_better else max)(known)
        table.add_row(rule.measure, f"[bold green]{known[-1]:.4f}")
        table.add_row("best round", f"{best:.4f} in round {values.index(best) + 1}")
    for name, value in result.metrics[-1].items():
        if isinstance(value, Mapping):
            table.add_row(name, ", ".join(f"{k} {_short(v)}" for k, v in value.items() if not np.ndim(v)))
        elif getattr(value, "size", 99) == 1:
            table.add_row(name, _short(float(value)))
    table.add_row("rounds", f"{len(result.metrics)}: {reason}")
    table.add_row("Envelopes sent", f"{result.envelopes:,} ({result.bytes_on_wire / 1e6:.1f} MB)")
    digest = _hash(result, slot)
    if digest is not None:
        table.add_row("parameters sha256", digest[:16] + "...")
    console.print(table)
    if save is not None:
        console.print(f"model written to {save}", highlight=False, markup=False)
    if result.failures:
        console.print(f"[yellow]{len(result.failures)} ops failed; the first: {result.failures[0]}")


def _short(value: Any) -> str:
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def _plain(value: Any) -> Any:
    return value.tolist() if hasattr(value, "tolist") else str(value)
