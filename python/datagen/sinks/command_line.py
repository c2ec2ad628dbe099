"""The options of sinks on a command line: their types, and what each sink says of its own."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, cast

import click

from .._files import named, reason

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from .base import Target

__all__ = ["FileName", "KeyValue", "Option", "SinkOptions", "is_given"]


class SinkOptions(ABC):
    """What the command asks of a sink's module of options, where it is called ``OPTIONS``."""

    #: The option that leaves the sink out.
    skip: ClassVar[str]
    #: Options whose setting in the library has another name.
    names: ClassVar[Mapping[str, str]] = {}
    #: Parameters that say where the service is, which ``--local`` says instead.
    addresses: ClassVar[Sequence[str]] = ()
    #: What a result says of how rows were sent where the sink takes no part.
    facts: ClassVar[Mapping[str, Any]] = {}

    @abstractmethod
    def groups(self, *, parallel: bool) -> Mapping[str, Sequence[Option]]:
        """The options, by the title of their group in ``--help``."""

    @abstractmethod
    def wanted(self, options: Mapping[str, Any]) -> bool:
        """Whether the sink takes part."""

    @abstractmethod
    def target(
        self, context: click.Context, options: Mapping[str, Any], *, fast: bool, parallel: bool
    ) -> Target | None:
        """What the options ask for, all of them checked; None where the sink is left out."""

    def on_local_stack(self, target: Any, stack: Any) -> Target:  # noqa: ARG002
        """The same target on the services of the local stack."""
        return cast("Target", target)

    def look(
        self,
        target: Any,  # noqa: ARG002
        typed: Collection[str],  # noqa: ARG002
        *,
        local: bool,  # noqa: ARG002
    ) -> Sequence[str]:
        """Lines that say how to look at what was loaded, without a secret.

        ``typed`` are the parameters of ``addresses`` that the command line had, which another command needs
        again; with ``local`` it is ``--local`` instead.
        """
        return ()

    def warning(self, options: Mapping[str, Any]) -> str:  # noqa: ARG002
        """What the user should know before the load begins, or nothing."""
        return ""


class Option(click.Option):
    """An option whose variable of the environment, where it is set, must say something.

    An end of a line behind a value is none of it: files and variables that were read from files have one.
    """

    #: The title in ``--help`` of the options it is among.
    group: str | None = None

    def __init__(self, *names: str, **settings: Any) -> None:
        super().__init__(names, **settings)

    def resolve_envvar_value(self, ctx: click.Context) -> str | None:
        if isinstance(self.envvar, str) and os.environ.get(self.envvar, "-").strip() == "":
            raise click.UsageError(
                f"{self.envvar} is set and empty; give it a value, or unset it for the default."
            )
        return super().resolve_envvar_value(ctx)

    def type_cast_value(self, ctx: click.Context, value: Any) -> Any:
        if isinstance(value, str):
            value = value.rstrip("\r\n")
        elif isinstance(value, list | tuple):
            value = [one.rstrip("\r\n") if isinstance(one, str) else one for one in value]
        return super().type_cast_value(ctx, value)


class FileName(click.Path):
    """The name of a file or folder, also where a file of an earlier run says it; a complaint says why it is none."""

    def __init__(self, *, exists: bool = False, folder: bool = False, dash: bool = False) -> None:
        super().__init__(
            exists=exists,
            file_okay=not folder,
            dir_okay=folder,
            allow_dash=dash,
            path_type=Path,
        )

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if not isinstance(value, str | os.PathLike):
            self.fail(f"{value!r} is no name of a file", param, ctx)
        try:
            named(value)
        except OSError as error:
            self.fail(f"{str(value)!r}: {reason(error)}", param, ctx)
        return super().convert(value, param, ctx)


class KeyValue(click.ParamType[Any]):
    """``KEY=VALUE``; a complaint repeats nothing of it, since it may be a password, also where the ``=`` is missing."""

    name = "KEY=VALUE"
    # One to a line of the environment's variable.
    envvar_list_splitter = "\n"

    def split_envvar_value(self, rv: str) -> Sequence[str]:
        return [line for line in rv.split(self.envvar_list_splitter) if line.strip()]

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[str, str]:
        if isinstance(value, tuple):
            return value
        name, equals, text = str(value).partition("=")
        if not equals or not name.strip():
            what = "there is no key before the =" if equals else "there is no ="
            self.fail(f"{what}; write KEY=VALUE", param, ctx)
        return name.strip(), text


def is_given(context: click.Context, name: str) -> bool:
    """Whether the user has set an option, on the command line or in the environment."""
    return context.get_parameter_source(name) is not click.core.ParameterSource.DEFAULT
