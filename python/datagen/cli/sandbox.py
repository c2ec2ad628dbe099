"""``local``: the stack to try datagen on, started, described and stopped."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from .console import Console

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["local"]


@click.group(name="local")
def local() -> None:
    """A stack to try datagen on: PostgreSQL, a Kafka broker and a registry, from pip alone."""


@local.command(name="up")
def _up() -> None:
    """Start whatever of the stack is not running."""
    from .. import local as sandbox

    # An output that takes nothing does not leave half of the stack.
    say = Console().line
    _print_stack(sandbox.up(report=say), say)


@local.command(name="status")
@click.pass_context
def _status(context: click.Context) -> None:
    """Say what runs, and where; exit code 1 where not all of it does."""
    from .. import local as sandbox

    stack = sandbox.status()
    if stack is None:
        click.echo("The local stack is down; start it with: datagen local up")
        context.exit(1)
    _print_stack(stack, click.echo)
    if not stack.whole:
        click.echo("Not all of the local stack is up; start the rest with: datagen local up")
        context.exit(1)


@local.command(name="down")
def _down() -> None:
    """Stop the stack. Tables and schemas stay on disk, topics are gone."""
    from .. import local as sandbox

    say = Console().line
    stopped = sandbox.down(report=say)
    say(f"Stopped: {', '.join(stopped)}" if stopped else "Nothing to stop.")


def _print_stack(stack: Any, say: Callable[[str], Any]) -> None:
    for service in stack.services:
        state = f"pid {service.pid}" if service.running else f"NOT RUNNING, see {service.log}"
        say(f"  {service.name}: {service.address} ({state})")
    say(f"  --postgres-url {stack.postgres_url}")
    say(f"  --kafka-bootstrap {stack.kafka_bootstrap}")
    say(f"  --schema-registry {stack.schema_registry}")
    say(f"  psql {stack.postgres_url}")
