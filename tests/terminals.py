"""The command on a terminal of a given width."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import struct
import subprocess
import termios
from contextlib import suppress

from command import Outcome, environment_of


def run_on_terminal(width: int, *command: object, timeout: float = 60.0) -> Outcome:
    """Run a command whose output is a terminal with so many columns; colours are left out."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 50, width, 0, 0))
    with subprocess.Popen(
        [str(part) for part in command],
        stdin=subprocess.DEVNULL,
        stdout=theirs,
        stderr=subprocess.PIPE,
        text=True,
        env=environment_of({"TERM": "xterm"}),
    ) as process:
        os.close(theirs)
        out = b""
        with suppress(OSError):  # a terminal without a writer
            while part := os.read(ours, 65_536):
                out += part
        os.close(ours)
        assert process.stderr is not None
        err = process.stderr.read()
        code = process.wait(timeout)
    text = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", out.decode())
    return Outcome(code, text.replace("\r\n", "\n"), err)
