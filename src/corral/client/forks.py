"""How often this process was forked off: a look at a number, where the system would have to be asked for its id.

What belongs to the process that made it keeps `generation`, and finds another one in a child of that process. Forks by
`os.fork`, and so `multiprocessing`, are counted.
"""

from __future__ import annotations

import os

generation = 0
"""Of this process: how many forks lie between it and the one that was started."""


def _forked() -> None:
    global generation
    generation += 1


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forked)
