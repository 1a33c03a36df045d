"""The connection to a scheduler of dask, which is there or is told not to be, and in time."""

from __future__ import annotations

import asyncio
from typing import Any

from distributed import Client
from distributed.comm.addressing import parse_address
from distributed.comm.registry import get_backend

from nidecomp.core.errors import UsageError
from nidecomp.core.text import in_one_line

# The port of these has a default, and a path may follow.
_URLS = ("ws", "wss")
_LAST_PORT = 65535


class TidyClient(Client):  # type: ignore[misc]  # the package has no types
    """A client that leaves nothing behind where it does not come to be.

    dask's own waits a minute for its end then, and prints a traceback, unless the reason was that
    the system refused the connection; and it waits for ever for who takes the connection and is
    silent.
    """

    async def _start(self, *args: Any, **kwargs: Any) -> Any:
        try:
            return await asyncio.wait_for(super()._start(*args, **kwargs), 2 * self._timeout)
        except Exception:
            await self._close(fast=True)
            raise

    def __del__(self) -> None:
        # Ctrl-C ends the wait for a connection, too.
        if getattr(self, "status", None) == "running":
            super().__del__()


def check_address(address: str) -> None:
    """Refuse what is no address, rather than wait for an answer from there.

    Raises
    ------
    UsageError
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
        is_one = 0 < port <= _LAST_PORT
    except ValueError:
        is_one = False
    except NotImplementedError:
        # Not all that packages bring are hosts and ports.
        return
    if not is_one:
        raise _no_scheduler(address, "an address is a host and a port, such as tcp://host:8786")


def _no_scheduler(address: str, why: object) -> UsageError:
    return UsageError(
        f"--dask-scheduler {address}: no scheduler of dask answers there ({in_one_line(why)})."
    )


def connect(address: str) -> Any:
    """Connect to a scheduler of others.

    Raises
    ------
    UsageError
        Whatever it is that is at that address, and whatever it says.
    """
    try:
        return TidyClient(address, set_as_default=False)
    except Exception as error:
        silent = "nothing is said" if isinstance(error, TimeoutError) else type(error).__name__
        raise _no_scheduler(address, str(error) or silent) from None
