"""A kernel that is asked to end before it is interrupted."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any

from jupyter_client.manager import AsyncKernelManager

GRACE = 2.0
"""Seconds that a kernel has to end by itself."""


class AskingKernelManager(AsyncKernelManager):
    """Asks a kernel to end, and interrupts it only if it still lives after some seconds.

    Jupyter's own manager interrupts first. A kernel that has sent its last answer, and is about to
    rest, then prints an error of a run in which nothing went wrong.
    """

    async def shutdown_kernel(self, now: bool = False, **how: Any) -> None:
        """Ends the kernel; ``now`` kills it at once."""
        if self.provisioner is not None and not now:
            await self.request_shutdown(**how)
            with contextlib.suppress(asyncio.TimeoutError):
                await asyncio.wait_for(self.provisioner.wait(), GRACE)
        await super().shutdown_kernel(now=now or not self.has_kernel, **how)
