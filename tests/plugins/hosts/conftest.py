"""Certificates for the tests of hosts."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import pytest

from bb_plugins.transports.certificates import issue, make_authority


@pytest.fixture(scope="session")
def federation(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("certs")
    make_authority(folder)
    for name in ("own", "one", "two", "three", "four"):
        issue(folder, name)
    issue(folder, "expired", until=dt.datetime.now(dt.UTC) - dt.timedelta(hours=1))
    return folder


@pytest.fixture(scope="session")
def strangers(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("strangers")
    make_authority(folder)
    issue(folder, "one")
    return folder
