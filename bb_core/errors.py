"""Every error that this project raises, split by who is to blame.

The tree has four branches, and the branch says who can mend it:

* the **caller** (`AuthoringError`, `CompileError`, `NodeError`): a Module, a binding or a call is wrong;
* a **peer** (`RemoteError`): bytes from outside are wrong; inside `poll` these become Steps and never raise;
* a **plugin** (`PluginError`): a package or a Concrete broke its contract;
* **us** (`InternalError`): an invariant of this project does not hold; please report it.

An error has a stable `code`, typed `fields`, and says what happened, where (with the line, and a caret under the call),
what was expected and what to do. The class docstring begins the error's page in `docs/errors`, which is made from this
file; a test keeps the two equal.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from difflib import get_close_matches
from typing import Any, ClassVar

from bb_core import places


class BBError(Exception):
    """Base of all errors of this project; never raised itself."""

    code: ClassVar[str] = "BB-000"

    severity: ClassVar[str] = "error"

    def __init__(
        self,
        message: str,
        *,
        where: str | None = None,
        expected: str | None = None,
        hint: str | None = None,
        also: Sequence[tuple[str, str]] = (),
        **fields: Any,
    ) -> None:
        if type(self) is BBError:
            raise TypeError("BBError is abstract; raise one of its subclasses")
        self.message = message
        self.where = where
        self.expected = expected
        self.hint = hint
        self.also = tuple(also)
        """Other places that have to do with it: (what happened there, place)."""
        self.fields = fields
        super().__init__(message)

    def __str__(self) -> str:
        return f"{self.message}  [{self.code}]" + "".join(f"\n{line}" for line in self.details())

    def details(self) -> list[str]:
        """The lines below the message: where, other places, what was expected, what to do."""
        lines: list[str] = []
        if self.where:
            lines += [f"  --> {places.short(self.where)}", *places.excerpt(self.where)]
        for what, place in self.also:
            lines += [f"  ::: {places.short(place)}: {what}", *places.excerpt(place)]
        if self.expected:
            lines.append(f"  = expected: {self.expected}")
        if self.hint:
            lines.append(f"  = hint: {self.hint}")
        return lines


def render(error: BBError) -> str:
    """Write an error or a warning as a compiler prints it: severity, code and name, then the message and its places."""
    if isinstance(error, CompileErrors):
        return "\n\n".join([*map(render, error.errors), error.summary])
    heading = f"{error.severity}[{error.code}] {type(error).__name__}: {error.message}"
    return "\n".join([heading, *error.details()])


def did_you_mean(name: str, legal: Iterable[str]) -> str:
    """Say which legal names there are, the nearest first; case and underscores do not count."""
    names = sorted(set(legal))
    if not names:
        return "there are none"
    plain: dict[str, str] = {}
    for each in names:
        plain.setdefault(_plain(each), each)
    near = get_close_matches(_plain(name), plain, n=1)
    within = [
        n for n in names if len(name) > 2 and (_plain(n).endswith(_plain(name)) or _plain(n).startswith(_plain(name)))
    ]
    best = plain[near[0]] if near else within[0] if within else ""
    listed = ", ".join(names[:12]) + (", ..." if len(names) > 12 else "")
    return f"did you mean {best!r}? known: {listed}" if best else f"known: {listed}"


def _plain(name: str) -> str:
    return name.lower().replace("_", "")


# --- the caller: a Module is wrong ------------------------------------------------------------------------------------


class AuthoringError(BBError):
    """A Module or a Graph was written wrongly; the message quotes your file and line."""

    code = "BB-A000"


class EmptyModule(AuthoringError):
    """`body` recorded no op. Record at least one output with `g.output(name, value)`."""

    code = "BB-A001"


class DuplicateName(AuthoringError):
    """One name was declared twice in one scope (an input, an output or a port). Give the second another name."""

    code = "BB-A002"


class UnknownPort(AuthoringError, LookupError):
    """A sub-module, an op or a call has no port of that name. The message lists those it has."""

    code = "BB-A003"


class MissingInput(AuthoringError):
    """A required input of an op or a sub-module was not given."""

    code = "BB-A004"


class ForeignOutput(AuthoringError):
    """An `Output` of another Graph was used. Pass the value in as an input of the sub-module instead."""

    code = "BB-A005"


class TypeMismatch(AuthoringError, TypeError):
    """A value of one type was given where another is declared."""

    code = "BB-A006"


class ReservedName(AuthoringError, ValueError):
    """A name is empty or holds a character that target names, paths or site ids use (`.`, `@`, `#`, `/`, `|`)."""

    code = "BB-A007"


class IllegalInBranch(AuthoringError):
    """The body of an `If` or a `Loop` may hold ops of a Backend slot only. Record the op outside, and use its value."""

    code = "BB-A010"


class RecursiveModule(AuthoringError, RecursionError):
    """A Module calls itself while it is recorded. `g.again` begins a new Frame; a `Loop` repeats tensor ops."""

    code = "BB-A011"


class UnknownRecorder(AuthoringError, AttributeError):
    """A slot, a Graph or `bb.syscalls` has no method of that name. The page `toolkit.md` lists those there are."""

    code = "BB-A030"


class IllegalValue(AuthoringError, ValueError):
    """An attribute of an op has a value that it could not work with, such as a period of nothing."""

    code = "BB-A012"


class MisplacedSlot(AuthoringError, AttributeError):
    """A slot was made outside a Module's class body, so it has no name and no path. Write it as a class attribute."""

    code = "BB-A013"


# --- the caller: a program does not compile ---------------------------------------------------------------------------


class CompileError(BBError):
    """A program cannot be compiled; the error names the pass, the node and your line."""

    code = "BB-C000"


class UnknownOp(CompileError):
    """No OpSpec and no ONNX schema declares this op. A plugin that adds it may be missing."""

    code = "BB-C001"


class MalformedProgram(CompileError):
    """The ModelProto is not a program: a value has two producers or none, or the number of inputs is wrong."""

    code = "BB-C002"


class TypeSolveError(CompileError):
    """The type of a value contradicts the port that reads it."""

    code = "BB-C003"


class CrossClassDataflow(CompileError):
    """One op reads values that live on different classes of peers. Send one of them with `g.send(value, to=...)`."""

    code = "BB-C004"


class UnresolvedPeerClass(CompileError):
    """A Send's destination has no known class of peers. Take it from a PeerSelector slot, `.sender` or an input."""

    code = "BB-C005"


class UnboundSlot(CompileError):
    """A slot of a compiled target has no Concrete. Bind one, or leave the slot late with `late=[...]`."""

    code = "BB-C006"


class UnknownSlot(CompileError, LookupError):
    """A binding names a slot path that the program does not have."""

    code = "BB-C007"


class DuplicateBinding(CompileError):
    """One slot path was bound twice. Remove one of the two bindings."""

    code = "BB-C008"


class RoleMismatch(CompileError):
    """A Concrete was bound to a slot of a Role that it does not fulfil."""

    code = "BB-C009"


class MissingCapability(CompileError):
    """The program records an op that the bound Concrete does not implement."""

    code = "BB-C010"


class UnboundDependency(CompileError):
    """A Concrete depends on a slot (`@bb.depends`) that is not bound, or bound to another Role."""

    code = "BB-C011"


class ConfigError(CompileError, ValueError):
    """A Concrete's configuration is refused: a field is unknown, has the wrong type or an illegal value."""

    code = "BB-C012"


class SiteCollision(CompileError):
    """Two sites or two components of one artefact have one id. Rename the Module, a slot or a port.

    A protocol whose component has an id that was agreed on can stand in one slot of a program.
    """

    code = "BB-C014"


class UnreachableOp(CompileError):
    """The inputs of an op can never all arrive in one Frame, or nothing ever starts it."""

    code = "BB-C015"


class UnknownTarget(CompileError, LookupError):
    """A target name is not one of the artefact's. The message lists them."""

    code = "BB-C016"


class DependencyCycle(CompileError):
    """Concretes depend on one another in a ring (`@bb.depends`). Let one of them take the value as an input."""

    code = "BB-C017"


class IncompleteProgram(CompileError):
    """A pass that makes a program fit to run was left out, and nothing else has done its work. The message names it."""

    code = "BB-C020"


class UnknownStage(CompileError, LookupError):
    """A pass, a stage or an anchor is named that is not there, or that cannot be used so."""

    code = "BB-C021"


class EdgeTypeMismatch(TypeSolveError):
    """What is sent and what its receiver reads are of different types. A Codec slot between the two converts."""

    code = "BB-C040"


class UnresolvedType(TypeSolveError):
    """A value is sent to other peers, and nothing says of which type it is. Declare the input that it comes from."""

    code = "BB-C041"


class ImpossibleQuorum(CompileError):
    """A collection wants more answers than it has peers, or a minimum above its quorum: it could never close well."""

    code = "BB-C060"


class NoWireType(CompileError):
    """A value of a declared type is sent, and nothing says how such values travel.

    Declare the type with `encode` and `decode` (`bb_register_types`), or convert the value before it is sent.
    """

    code = "BB-C061"


class ProtocolWarning(CompileError, UserWarning):
    """A program will run, and probably not as its author thinks. `Compiler.warnings` holds them; none stops a program.

    Each is also given to Python's `warnings`, so that a filter can silence it or make it an error.
    """

    code = "BB-C070"
    severity = "warning"


class UnreadSend(ProtocolWarning):
    """What a Send delivers is read by nobody, so nothing happens where it arrives."""

    code = "BB-C071"


class UncollectedAnswer(ProtocolWarning):
    """Peers answer a request that nothing waits for; answers are refused once its delivery time is over.

    Collect them with an Aggregator (`aggregator.collect`), or with `g.gather`.
    """

    code = "BB-C072"


class DefaultDeadline(ProtocolWarning):
    """An op waits for peers and its author wrote no deadline, so it got the compiler's. Write one, such as `"30s"`."""

    code = "BB-C073"


class UnusedInput(ProtocolWarning):
    """An input of the program is read by no op. Remove it, or read it."""

    code = "BB-C074"


class UnusedValue(ProtocolWarning):
    """An op without any effect but its value is computed, and nobody reads that value."""

    code = "BB-C075"


class UncalledBootstrap(ProtocolWarning):
    """A sub-module has a bootstrap, and the bootstrap of the Module that holds it does not call it.

    Call the sub-module inside `bootstrap`: `self.child(g)` records the child's bootstrap there.
    """

    code = "BB-C076"


class UntypedValue(ProtocolWarning):
    """A value is sent to other peers, and nothing says of which type it is; permitted by `with_permissive_types`."""

    code = "BB-C077"


class NotDifferentiable(CompileError):
    """A graph cannot be trained: an op has no gradient rule, or a shape that its rule needs is not known."""

    code = "BB-C080"


class CompileErrors(CompileError):
    """All errors that one pass found, so that you can mend them together (`.errors`)."""

    code = "BB-C099"

    def __init__(self, pass_name: str, errors: Sequence[CompileError]) -> None:
        self.errors = tuple(errors)
        self.summary = f"{len(self.errors)} errors in pass {pass_name}"
        super().__init__(self.summary, pass_name=pass_name)

    def __str__(self) -> str:
        listed = "\n".join(f"{i}. {error}" for i, error in enumerate(self.errors, 1))
        return f"{listed}\n{self.summary}  [{self.code}]"


# --- the caller: a Node is used wrongly -------------------------------------------------------------------------------


class NodeError(BBError):
    """A Node was used wrongly; nothing in it has changed."""

    code = "BB-N000"


class InstallError(NodeError):
    """An artefact cannot be installed: not compiled, changed after compiling, of another format, or incomplete."""

    code = "BB-N001"


class UnknownModule(NodeError, LookupError):
    """`invoke` named a target that is not installed on this Node."""

    code = "BB-N002"


class UnknownInput(NodeError, LookupError):
    """`invoke` gave an input that the target does not have, or no input at all."""

    code = "BB-N003"


class MissingExtra(NodeError, ImportError):
    """A command or a Concrete needs an optional package. The message says which extra to install."""

    code = "BB-N004"


class UsageError(NodeError, ValueError):
    """An argument of a public call has an illegal value. The message says which, and what is legal."""

    code = "BB-N005"


class LoadError(NodeError, ValueError):
    """What a command was given is no program: no such file or name, not a Module, or a file that cannot be imported."""

    code = "BB-N020"


class RunFailed(NodeError):
    """A run stopped before its last round: a round gave no output. The message quotes the failed Steps."""

    code = "BB-N006"


class IngressFull(NodeError):
    """More waits to be taken in than the Node may hold (`NodeConfig.ingress`). Poll it, then try again."""

    code = "BB-N007"


class SnapshotError(NodeError):
    """A snapshot cannot be taken or restored. The Node is as it was."""

    code = "BB-N008"


class SnapshotDamaged(SnapshotError):
    """The bytes are no snapshot, end too early, or have changed since they were written. Restore an older one."""

    code = "BB-N009"


class SnapshotMismatch(SnapshotError):
    """A snapshot belongs to another artefact, peer, set of targets or release, or its base is not the one given."""

    code = "BB-N010"


class RecordingError(NodeError):
    """The bytes are no recording, or have changed since they were written."""

    code = "BB-N011"


class StateInUse(NodeError):
    """Another process keeps its Node in this state directory. Two Nodes of one identity would contradict each other."""

    code = "BB-N012"


class NotRunning(NodeError):
    """No process that can be asked runs this Node: it is not started, has no state directory, or has ended."""

    code = "BB-N013"


# --- a peer: bytes from outside are wrong (a Step inside poll) --------------------------------------------------------


class RemoteError(BBError):
    """What a peer sent is refused; the Node goes on."""

    code = "BB-R000"


class EnvelopeError(RemoteError):
    """The bytes are not a legal Envelope."""

    code = "BB-R001"


class Truncated(EnvelopeError):
    """The bytes end inside a field."""

    code = "BB-R002"


class CapExceeded(EnvelopeError):
    """The Envelope is larger, or has more parts, than this Node accepts (`NodeConfig`)."""

    code = "BB-R003"


class VersionMismatch(EnvelopeError):
    """The Envelope's schema version is not one that this release reads."""

    code = "BB-R004"


class PayloadError(RemoteError):
    """A fill's payload does not decode to the type that it claims, or that its site expects."""

    code = "BB-R005"


class AddressError(RemoteError, ValueError):
    """Text or bytes are not an address or a peer id."""

    code = "BB-R006"


class NotExported(RemoteError):
    """A fill names a site, or an op of a component, that this Node does not export."""

    code = "BB-R007"


class UnexpectedResponse(RemoteError):
    """A response belongs to no open request of this Node, or comes from a peer that was not asked."""

    code = "BB-R008"


class SourceMismatch(RemoteError):
    """The sender that an Envelope names is not the peer that the transport has verified."""

    code = "BB-R009"


class IncompleteEdge(RemoteError):
    """An Envelope brings only some of the values that its sender sends together."""

    code = "BB-R010"


class NotDelivered(RemoteError):
    """A peer has not confirmed in time what was sent to it with a receipt."""

    code = "BB-R011"


class Overfull(RemoteError):
    """There is no room for a value in chunks now; its sender sends it again."""

    code = "BB-R012"


class HandshakeRefused(RemoteError):
    """What a connection began with is not the handshake of a peer that this Node can talk to; it was closed."""

    code = "BB-R013"


class ProgramMismatch(HandshakeRefused):
    """A peer runs another artefact. Both digests are named; give both Nodes the same file."""

    code = "BB-R014"


class IdentityRefused(HandshakeRefused):
    """A peer is not who it should be: its certificate is missing, expired, of a stranger, or names another peer."""

    code = "BB-R015"


# --- a plugin ---------------------------------------------------------------------------------------------------------


class PluginError(BBError):
    """A plugin package is at fault; the message names distribution, version and entry point."""

    code = "BB-P000"


class PluginLoadError(PluginError):
    """A plugin's entry point could not be imported or its hooks could not be called. Other plugins are not affected."""

    code = "BB-P001"


class DuplicateRegistration(PluginError):
    """Two owners registered one name. Both are named; uninstall or block one of them."""

    code = "BB-P002"


class UnknownConcrete(PluginError, LookupError):
    """No installed plugin registers a Concrete of that name."""

    code = "BB-P003"


class InvalidConcrete(PluginError, TypeError):
    """A class is not a legal Concrete: no Role among its bases, or a method that differs from its Role's contract."""

    code = "BB-P004"


class InvalidOp(PluginError, TypeError):
    """An op is declared in a domain that is not its author's, or without a function that runs it."""

    code = "BB-P009"


class RoleError(PluginError):
    """A Concrete raised, or broke its Role's contract while running. The original error is the cause."""

    code = "BB-P005"


class ContributionRefused(RoleError, ValueError):
    """An Aggregator refused a contribution: late, unknown, of another shape, or not finite."""

    code = "BB-P006"


class QuorumNotReached(RoleError):
    """A collection closed with fewer contributions than `minimum`."""

    code = "BB-P007"


class Overloaded(RoleError):
    """More ops of a Node wait for their answers than it may hold open (`NodeConfig.laters`)."""

    code = "BB-P010"


class SnapshotUnsupported(RoleError):
    """A Concrete holds state and does not say how to keep it. Give it `snapshot` and `restore`."""

    code = "BB-P011"


class NotConforming(RoleError, AssertionError):
    """The conformance kit has found that a Concrete breaks promises of its Role. The message lists them."""

    code = "BB-P020"


class DeadlinePassed(RoleError, TimeoutError):
    """An op that answers later did not do so by its deadline."""

    code = "BB-P008"


# --- us ---------------------------------------------------------------------------------------------------------------


class InternalError(BBError):
    """An invariant of this project does not hold. Please report it with the message and, if you can, the program."""

    code = "BB-I000"


def all_errors() -> list[type[BBError]]:
    """Every error class of this module, by code."""
    found = [v for v in globals().values() if isinstance(v, type) and issubclass(v, BBError)]
    return sorted((c for c in found if c is not BBError), key=lambda c: c.code)
