"""Standard input, output and error, where whoever started the process closed them."""

from __future__ import annotations

import os
import sys


def open_closed_streams() -> None:
    """Open what is closed of the three: input is empty, nothing can be written to output, and errors go nowhere.

    Their numbers would go to whatever is opened next: libuv aborts a process that closes a socket with one of them, and
    a command that is started would write into it.
    """
    for number, name, flags in ((0, "stdin", os.O_RDONLY), (1, "stdout", os.O_RDONLY), (2, "stderr", os.O_WRONLY)):
        try:
            os.fstat(number)
        except OSError:
            # What is opened gets the lowest number that is free, which is this one.
            os.set_inheritable(os.open(os.devnull, flags), True)
        if getattr(sys, name) is None:
            mode = "w" if number else "r"
            setattr(sys, name, open(number, mode, encoding="utf-8", closefd=False))  # noqa: SIM115  # To stay open.
