"""Device that the models of a run are moved to."""

from __future__ import annotations

import torch

from ...errors import UsageError


def check_device(name: str) -> None:
    """Check that a device is here and can be used.

    Args:
        name: as torch writes it, such as ``"cpu"``, ``"cuda"`` or ``"cuda:1"``.

    Raises:
        UsageError: there is no such device here.
    """
    try:
        torch.zeros(1, device=torch.device(name)).item()
    except (RuntimeError, AssertionError, NotImplementedError, ValueError, ImportError) as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")
        raise UsageError(
            f"The device {name!r} cannot be used here ({reason}): choose another with --device, such as 'cpu' or "
            "'cuda', or leave it out."
        ) from error
