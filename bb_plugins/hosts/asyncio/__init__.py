"""A host for one Node in one process, on asyncio."""

from bb_plugins.hosts.asyncio.host import AsyncioHost, HostConfig

__all__ = ["AsyncioHost", "HostConfig"]
