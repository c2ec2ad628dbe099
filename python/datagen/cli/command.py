"""The ``datagen`` command: options in, calls out.

Exit codes: 0 done, 1 `local status` where something is down, 2 wrong usage, 3 configuration or authentication,
4 a sink rejected data, 5 unreachable or timed out, 6 verification failed or could not be done, 130 interrupted,
143 and 129 ended by SIGTERM and SIGHUP, 141 data whose reader has gone (``| head``).
"""

from __future__ import annotations

import atexit
import logging
import os
import sys
from contextlib import contextmanager
from importlib import import_module
from typing import TYPE_CHECKING, Any, Final, NoReturn, cast

import click

from .._output import OutputError
from .._words import of_the_command
from ..errors import OptionError
from . import signals
from .endings import Unread
from .endings import explain as say_why
from .outputs import own_streams

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

__all__ = ["group", "main", "main_of_process"]

_LEVELS: Final = ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")


def main(args: Sequence[str] | None = None) -> NoReturn:
    """Runs the command and leaves the process with its exit code."""
    own_streams()
    code = _run(args)
    # What ends the process from here on changes nothing of what was said.
    signals.ignore()
    sys.exit(code)


def main_of_process() -> NoReturn:
    """Runs the command, and ends the process without taking its interpreter apart.

    The traceback of an error holds on to clients. Their threads would meet an interpreter that is half taken
    apart: processes were seen to end by SIGSEGV then, in place of the exit code that was meant.
    """
    code = 1
    try:
        main()
    except SystemExit as ended:
        code = ended.code if isinstance(ended.code, int) else 1
    # What libraries have registered for the end, such as to remove a temporary folder.
    atexit._run_exitfuncs()  # noqa: SLF001
    for output in (sys.stdout, sys.stderr):
        try:
            output.flush()
        except (OSError, OutputError):
            code = code or 1
    os._exit(code)


def _run(args: Sequence[str] | None) -> int:
    debug = False
    try:
        signals.listen()
        debug = _set_up_logging() == "DEBUG"
        with of_the_command():
            code = group.main(args, prog_name="datagen", standalone_mode=False)
        sys.stdout.flush()
    except (Exception, KeyboardInterrupt) as error:  # noqa: BLE001 - the last to see any
        return say_why(error, debug=debug)
    # A number where a command has left its context with one.
    return code if isinstance(code, int) else 0


def _set_up_logging() -> str:
    level = os.environ.get("LOG_LEVEL", "WARNING").strip().upper()
    if level not in _LEVELS:
        raise OptionError("LOG_LEVEL", os.environ["LOG_LEVEL"], ", ".join(_LEVELS))
    logging.basicConfig(format="%(levelname)s: %(message)s", stream=sys.stderr)
    logging.captureWarnings(capture=True)
    # Of other packages, warnings alone: what an HTTP client does, byte by byte, is no news of a load.
    logging.getLogger().setLevel(max(logging.getLevelNamesMapping()[level], logging.WARNING))
    logging.getLogger("datagen").setLevel(level)
    if level != "DEBUG":
        # It logs lost sessions, which our errors name too.
        logging.getLogger("psycopg").setLevel(logging.ERROR)
    return level


#: The modules of the commands: each is imported as its command is called for.
_COMMANDS: Final = {
    "load": "loading",
    "load-parallel": "loading",
    "stream": "streaming",
    "files": "filing",
    "verify": "verifying",
    "runs": "recalling",
    "merge-receipts": "merging",
    "show": "showing",
    "explain": "explaining",
    "schema": "schemas",
    "peek": "peeking",
    "benchmark": "benchmarking",
    "report": "reporting",
    "local": "sandbox",
}


class _Group(click.Group):
    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002
        return sorted(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        if cmd_name not in _COMMANDS:
            return None
        module = import_module(f".{_COMMANDS[cmd_name]}", __package__)
        return cast("click.Command", getattr(module, cmd_name.replace("-", "_")))

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        name = args[0]
        if name not in _COMMANDS and not name.startswith("-") and not ctx.resilient_parsing:
            from difflib import get_close_matches

            # Click's own looks for near names among commands that are imported.
            near = get_close_matches(name, _COMMANDS, 1)
            hint = f" Did you mean '{near[0]}'?" if near else ""
            raise click.UsageError(f"No such command '{name}'.{hint}", ctx)
        return super().resolve_command(ctx, args)

    def make_context(self, *args: Any, **more: Any) -> click.Context:
        # Here the help of all is printed.
        with _unread():
            return super().make_context(*args, **more)

    def invoke(self, ctx: click.Context) -> Any:
        with _unread():
            return super().invoke(ctx)


@contextmanager
def _unread() -> Iterator[None]:
    """Has a reader that is gone be no error of the system, at which click would end the process by itself."""
    try:
        yield
    except BrokenPipeError as gone:
        raise Unread from gone


@click.group(
    name="datagen",
    cls=_Group,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.version_option(package_name="datagen", prog_name="datagen")
def group() -> None:
    """Realistic Brazilian bank data from a seed, for PostgreSQL and Kafka.

    The same seed and options give the same bytes everywhere, and every foreign key is valid
    across both.
    """
