"""How a command ends: the line that says why, and the exit code."""

from __future__ import annotations

import logging
import os
import re
from difflib import get_close_matches
from typing import TYPE_CHECKING, Final

import click

from .._output import OutputError
from ..errors import DatagenError, UnreachableError, VerificationError
from ..settlement import settlement_of
from . import signals
from .limits import lack, remark
from .outputs import forget_stdout

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["Unread", "exit_code", "explain", "text_of"]

_EXIT_USAGE: Final = 2
_EXIT_INTERRUPTED: Final = 130
#: As shells have it of other tools, which SIGPIPE ends there.
_EXIT_UNREAD: Final = 141


class Unread(Exception):  # noqa: N818  # it is no error
    """The reader of a command's data has gone; click would end the process by itself if it saw the system's error."""


def explain(error: BaseException, *, debug: bool) -> int:
    """Says what ended the run; returns the exit code for it."""
    if isinstance(error, click.Abort) and error.__cause__ is not None:
        error = error.__cause__  # click hides the signal that it was
    if isinstance(error, click.exceptions.NoArgsIsHelpError):
        error.show()
        return _EXIT_USAGE
    if isinstance(error, click.UsageError):
        _fail(text_of(error), debug=debug)
        if lack(error) is not None:
            return exit_code(error)
        if error.ctx is not None:
            click.echo(f"Try: {error.ctx.command_path} --help", err=True)
        return _EXIT_USAGE
    if isinstance(error, KeyboardInterrupt | click.Abort):
        begun = settlement_of(error) is not None
        _fail(
            f"{_interruption(error)}{'' if begun else ' before anything was loaded'}", debug=debug
        )
        return exit_code(error)
    if isinstance(error, BrokenPipeError | OutputError | Unread):
        forget_stdout()
    if isinstance(error, BrokenPipeError | Unread):
        return _EXIT_UNREAD
    text = text_of(error)
    if not isinstance(_told(error), DatagenError):
        # A mistake of ours.
        text += "; LOG_LEVEL=DEBUG shows where"
    _fail(text, debug=debug)
    return exit_code(error)


def _told(error: BaseException) -> BaseException:
    """The error, or what the process lacks if that is what it came of."""
    # What has arrived, or was to end, is told as that.
    if isinstance(error, VerificationError | KeyboardInterrupt | click.Abort):
        return error
    return lack(error) or error


def exit_code(error: BaseException) -> int:
    error = _told(error)
    if isinstance(error, click.UsageError):
        return _EXIT_USAGE
    if isinstance(error, click.Abort):
        return _EXIT_INTERRUPTED
    if isinstance(error, BrokenPipeError):
        return _EXIT_UNREAD
    usual = _EXIT_INTERRUPTED if isinstance(error, KeyboardInterrupt) else 1
    return int(getattr(error, "exit_code", usual))


def _interruption(error: BaseException) -> str:
    if isinstance(error, signals.Terminated):
        return f"ended by {error}"
    return "interrupted"


def _fail(message: str, *, debug: bool) -> None:
    if debug:
        # Called by handlers only.
        logging.getLogger(__name__).error("the run ended here", exc_info=True)  # noqa: LOG014
    click.echo(f"Error: {message}", err=True)


def _without_secrets(message: str) -> str:
    """A complaint about options that repeats no URL's user and no argument without a name."""
    message = re.sub(r"(Got unexpected extra arguments?) \(.*\)", r"\1", message, flags=re.DOTALL)
    # A list of choices comes on lines of its own.
    message = re.sub(r"://\S*@", "://***@", re.sub(r"\s*\n\s*", " ", message))
    # What was given may be a file's whole content.
    return re.sub(r"(\S{200})\S+", r"\1...", message)


def _suggestion(error: click.NoSuchOption) -> str:
    """The commands that have the option, or the option of this one that is nearest to it."""
    if error.ctx is None:
        return ""
    name, root = error.option_name, error.ctx.find_root()
    having = [
        word
        for word, command in _commands(root)
        if any(name in option.opts for option in command.params)
    ]
    # The commands of one kind have names that begin alike.
    kin = [word for word in having if word.startswith(f"{error.ctx.info_name}-")] or having
    if kin:
        listed = ", ".join(f"`{root.command_path} {word}`" for word in kin)
        return f" {listed} {'has' if len(kin) == 1 else 'have'} it."
    own = [text for option in error.ctx.command.params for text in option.opts]
    nearest = get_close_matches(name, [text for text in own if text.startswith("--")], 1, 0.7)
    return f" Did you mean {nearest[0]}?" if nearest else ""


def _commands(root: click.Context) -> Iterator[tuple[str, click.Command]]:
    if isinstance(root.command, click.Group):
        for word in root.command.list_commands(root):
            if command := root.command.get_command(root, word):
                yield word, command


def text_of(error: BaseException) -> str:
    """What the line `Error:` says."""
    before, error = error, _told(error)
    if isinstance(error, click.NoSuchOption):
        return f"No such option {error.option_name!r}.{_suggestion(error)}"
    if isinstance(error, click.UsageError):
        return _without_secrets(error.format_message())
    if isinstance(error, DatagenError):
        # A client that gets no descriptor may say no more than that it is not connected.
        doubt = remark() if isinstance(error, UnreachableError) and error is before else ""
        return f"{error}{doubt}"
    if isinstance(error, KeyboardInterrupt | click.Abort):
        return _interruption(error)
    # Its text is not shown, since it may hold a password; that of a number of the system's cannot.
    number = error.errno if isinstance(error, OSError) else None
    why = f" ({os.strerror(number)})" if isinstance(number, int) else ""
    return f"unexpected {type(error).__name__}{why}"
