"""The certificates of a federation: an authority's, and one for each Node, all with Ed25519 keys."""

from __future__ import annotations

import datetime as dt
import os
from pathlib import Path
from typing import Any

import bb_core as bb
from bb_core.errors import LoadError, MissingExtra, UsageError
from bb_plugins.transports.interface import Credentials
from bb_plugins.transports.tls import PEER_URI

AUTHORITY = "authority"
"""Name of the authority's two files; the key's belongs on no machine that runs a Node."""
_LONGEST_NAME = 64  # X.520: of a common name
_LONGEST_DAYS = 36_500
_SKEW = dt.timedelta(minutes=5)  # clocks of a federation differ


def make_authority(folder: Path, days: int = 3650, name: str = "bytesandbrains federation") -> Path:
    """Make an authority; returns its certificate's file.

    Raises:
        MissingExtra: `cryptography` is not installed.
        UsageError: there is one in the folder already.
    """
    x509, _, ed25519, serialization = _cryptography()
    folder.mkdir(parents=True, exist_ok=True)
    _must_be_new(folder / f"{AUTHORITY}.crt")
    key = ed25519.Ed25519PrivateKey.generate()
    title = _title(x509, name)
    builder = _builder(x509, title, title, key.public_key(), days)
    builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
    builder = builder.add_extension(_usage(x509, signs=True), critical=True)
    builder = builder.add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    _write_key(folder / f"{AUTHORITY}.key", key, serialization)
    path = folder / f"{AUTHORITY}.crt"
    path.write_bytes(builder.sign(key, None).public_bytes(serialization.Encoding.PEM))
    return path


def issue(folder: Path, name: str, days: int = 365, *, until: dt.datetime | None = None) -> bb.PeerId:
    """Make a key and a certificate for one Node, `NAME.key` and `NAME.crt`; returns its peer id.

    Args:
        folder: Where the authority's files are.
        name: For people; the peer id is that of the key.
        days: How long the certificate is good.
        until: Until when, instead.

    Raises:
        MissingExtra: `cryptography` is not installed.
        LoadError: there is no authority in the folder.
        UsageError: the name is taken, or no name of a file.
    """
    x509, oid, ed25519, serialization = _cryptography()
    if name == AUTHORITY or not 0 < len(name) <= _LONGEST_NAME or Path(name).name != name:
        raise UsageError(
            f"a Node cannot be called {name!r}", expected=f"a name for its files, of at most {_LONGEST_NAME} letters"
        )
    _must_be_new(folder / f"{name}.crt")
    try:
        authority = x509.load_pem_x509_certificate((folder / f"{AUTHORITY}.crt").read_bytes())
        signer = serialization.load_pem_private_key((folder / f"{AUTHORITY}.key").read_bytes(), None)
    except (OSError, ValueError) as error:
        raise LoadError(f"there is no authority in {folder}: {error}", hint="bb certs init") from error
    key = ed25519.Ed25519PrivateKey.generate()
    raw = serialization.Encoding.Raw, serialization.PublicFormat.Raw
    peer = bb.PeerId.from_ed25519(key.public_key().public_bytes(*raw))
    builder = _builder(x509, _title(x509, name), authority.subject, key.public_key(), days, until)
    names = [x509.UniformResourceIdentifier(f"{PEER_URI}{peer}")]
    purposes = [oid.ExtendedKeyUsageOID.SERVER_AUTH, oid.ExtendedKeyUsageOID.CLIENT_AUTH]
    for extension, is_critical in (
        (x509.SubjectAlternativeName(names), False),
        (x509.BasicConstraints(ca=False, path_length=None), True),
        (_usage(x509, signs=False), True),
        (x509.ExtendedKeyUsage(purposes), False),
        (x509.AuthorityKeyIdentifier.from_issuer_public_key(authority.public_key()), False),
    ):
        builder = builder.add_extension(extension, critical=is_critical)
    _write_key(folder / f"{name}.key", key, serialization)
    (folder / f"{name}.crt").write_bytes(builder.sign(signer, None).public_bytes(serialization.Encoding.PEM))
    return peer


def credentials_in(folder: Path, name: str) -> Credentials:
    """Return the credentials of a Node whose files are in one folder with the authority's certificate."""
    return Credentials(folder / f"{name}.crt", folder / f"{name}.key", folder / f"{AUTHORITY}.crt")


def _cryptography() -> tuple[Any, Any, Any, Any]:
    try:
        from cryptography import x509
        from cryptography.hazmat.primitives import serialization
        from cryptography.hazmat.primitives.asymmetric import ed25519
        from cryptography.x509 import oid
    except ImportError as error:
        raise MissingExtra(
            "certificates need the package cryptography", hint='pip install "bytesandbrains[tls]"'
        ) from error
    return x509, oid, ed25519, serialization


def _title(x509: Any, name: str) -> Any:
    return x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])


def _builder(x509: Any, subject: Any, issuer: Any, key: Any, days: int, until: dt.datetime | None = None) -> Any:
    if not 1 <= days <= _LONGEST_DAYS:
        raise UsageError(f"a certificate for {days} days", expected=f"1 to {_LONGEST_DAYS}")
    now = dt.datetime.now(dt.UTC)
    end = until or now + dt.timedelta(days=days)
    begin = min(now - _SKEW, end - _SKEW)
    builder = x509.CertificateBuilder().subject_name(subject).issuer_name(issuer).public_key(key)
    return builder.serial_number(x509.random_serial_number()).not_valid_before(begin).not_valid_after(end)


def _usage(x509: Any, *, signs: bool) -> Any:
    return x509.KeyUsage(
        digital_signature=not signs,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs,
        crl_sign=signs,
        encipher_only=False,
        decipher_only=False,
    )


def _must_be_new(path: Path) -> None:
    if path.exists():
        raise UsageError(f"{path} exists already", hint="take another name, or remove it")


def _write_key(path: Path, key: Any, serialization: Any) -> None:
    """Write a private key to a new file that its owner alone can read."""
    raw = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    try:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        _must_be_new(path)
        raise
    with os.fdopen(handle, "wb") as file:
        file.write(raw)
