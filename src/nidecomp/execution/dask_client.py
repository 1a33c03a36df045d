"""Connect to a dask scheduler, with a timeout and clear error messages."""

from __future__ import annotations

import asyncio
from typing import Any

from distributed import Client
from distributed.comm.addressing import parse_address
from distributed.comm.registry import get_backend

from nidecomp.core.errors import UsageError
from nidecomp.core.text import in_one_line

# Addresses of these protocols need no port and may end with a path.
_URLS = ("ws", "wss")
_LAST_PORT = 65535


class TidyClient(Client):  # type: ignore[misc]  # the package has no types
    """A dask client that is closed if it cannot be started, and has a timeout.

    Unless the connection is refused, dask's own client waits a minute before it is closed and
    prints a traceback. If the server accepts the connection but sends nothing, it waits forever.
    """

    async def _start(self, *args: Any, **kwargs: Any) -> Any:
        try:
            return await asyncio.wait_for(super()._start(*args, **kwargs), 2 * self._timeout)
        except Exception:
            await self._close(fast=True)
            raise

    def __del__(self) -> None:
        # The client is not running if Ctrl-C interrupted the connection.
        if getattr(self, "status", None) == "running":
            super().__del__()


def check_address(address: str) -> None:
    """Check the format of the address of a scheduler, without connecting to it.

    Raises
    ------
    UsageError
        The protocol is unknown, or the address has no host or port.
    """
    scheme, location = parse_address(address)
    try:
        backend = get_backend(scheme)
    except (ValueError, ImportError) as error:
        raise _no_scheduler(address, error) from None
    if scheme in _URLS:
        return
    try:
        _, port = backend.get_address_host_port(location)
        is_valid = 0 < port <= _LAST_PORT
    except ValueError:
        is_valid = False
    except NotImplementedError:
        # Protocols of other packages may not use hosts and ports.
        return
    if not is_valid:
        raise _no_scheduler(address, "an address has a host and a port, such as tcp://host:8786")


def _no_scheduler(address: str, why: object) -> UsageError:
    return UsageError(
        f"--dask-scheduler {address}: cannot connect to a dask scheduler ({in_one_line(why)})."
    )


def connect(address: str) -> Any:
    """Return a client connected to a running scheduler.

    Raises
    ------
    UsageError
        The connection failed for any reason.
    """
    try:
        return TidyClient(address, set_as_default=False)
    except Exception as error:
        kind = "no response" if isinstance(error, TimeoutError) else type(error).__name__
        raise _no_scheduler(address, str(error) or kind) from None
