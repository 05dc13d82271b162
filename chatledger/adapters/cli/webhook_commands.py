"""The words of ``chatledger webhooks``."""

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import UUID

from chatledger.adapters.cli.console import WRONG_USAGE, CommandFailedError, Result

if TYPE_CHECKING:
    from chatledger.adapters.cli.main import Subcommands

Add = Callable[[Any, str, Callable[[argparse.Namespace], Result], str], argparse.ArgumentParser]


def add_webhooks(commands: "Subcommands", add: Add, app_id: Callable[[str], UUID], count: Callable[[str], int]) -> None:
    """Add them; ``add`` makes one command, the others read a value."""
    webhooks = commands.add_parser("webhooks", help="endpoints that are told what happens", allow_abbrev=False)
    actions = webhooks.add_subparsers(title="commands", metavar="COMMAND", required=True)
    add(actions, "list", _list, "list all endpoints, and how far each was told")

    added = add(actions, "add", _add, "have an endpoint told of events, and show its secret, this once")
    added.add_argument("url", metavar="URL", help="where it is")
    added.add_argument("--app", type=app_id, metavar="APP", help="of this app's events; of those of all apps otherwise")
    added.add_argument(
        "--type", action="append", default=[], metavar="TYPE", help="of events of this type; of all otherwise"
    )
    added.add_argument(
        "--secret-file", type=Path, metavar="FILE", help="a file with the secret, where there is one already"
    )
    _add_place(added, "of what comes after this cursor of the feed; of what happens from now on otherwise")

    removed = add(actions, "remove", _change, "tell an endpoint nothing any more")
    disabled = add(actions, "disable", _change, "tell an endpoint nothing for now")
    enabled = add(actions, "enable", _change, "tell an endpoint again, of what happened meanwhile too")
    for parser, to in ((removed, "removed"), (disabled, "disabled"), (enabled, "enabled")):
        parser.set_defaults(to=to)
        _add_endpoint(parser)

    rotated = add(actions, "rotate-secret", _rotate, "sign with another secret, shown this once")
    _add_endpoint(rotated)
    rotated.add_argument(
        "--secret-file", type=Path, metavar="FILE", help="a file with the secret, where there is one already"
    )
    rotated.add_argument("--overlap", type=float, metavar="SECONDS", help="how long the one so far signs too (86400)")

    _add_endpoint(add(actions, "test", _test, "send an endpoint an event of no account; exit 1 if it is not taken"))

    letters = add(actions, "dead-letters", _dead_letters, "list what an endpoint has not taken")
    _add_endpoint(letters)
    letters.add_argument("--limit", type=count, default=100, metavar="N", help="how many at most (100)")

    replayed = add(actions, "replay", _replay, "tell an endpoint again: everything, or what it has not taken")
    _add_endpoint(replayed)
    _add_place(replayed, "only what comes after this cursor of the feed")
    replayed.add_argument("--dead-letters", action="store_true", help="try again what it has not taken")
    replayed.add_argument(
        "--position", type=count, action="append", default=[], metavar="N", help="only this dead letter"
    )


def _add_endpoint(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("endpoint", type=_endpoint_id, metavar="ENDPOINT", help="the endpoint's id")


def _add_place(parser: argparse.ArgumentParser, does: str) -> None:
    parser.add_argument("--after", metavar="CURSOR", help=does)


def _endpoint_id(text: str) -> UUID:
    try:
        return UUID(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not an endpoint's id") from None


def _list(_: argparse.Namespace) -> Result:
    from chatledger.adapters.cli import webhooks  # noqa: PLC0415
    from chatledger.server_settings import load_settings  # noqa: PLC0415

    return webhooks.list_endpoints(load_settings())


def _add(arguments: argparse.Namespace) -> Result:
    from chatledger.adapters.cli import webhooks  # noqa: PLC0415
    from chatledger.adapters.cli.webhook_orders import AddEndpoint  # noqa: PLC0415
    from chatledger.server_settings import load_settings  # noqa: PLC0415

    wanted = AddEndpoint(
        url=arguments.url,
        app_id=arguments.app,
        types=tuple(arguments.type),
        secret=webhooks.secret_in(arguments.secret_file),
        after=arguments.after or "now",
    )
    return webhooks.add(load_settings(), wanted)


def _change(arguments: argparse.Namespace) -> Result:
    from chatledger.adapters.cli import webhooks  # noqa: PLC0415
    from chatledger.adapters.cli.webhook_orders import ChangeEndpoint  # noqa: PLC0415
    from chatledger.server_settings import load_settings  # noqa: PLC0415

    return webhooks.change(load_settings(), ChangeEndpoint(arguments.endpoint, arguments.to))


def _rotate(arguments: argparse.Namespace) -> Result:
    from chatledger.adapters.cli import webhooks  # noqa: PLC0415
    from chatledger.adapters.cli.webhook_orders import RotateSecret  # noqa: PLC0415
    from chatledger.server_settings import load_settings  # noqa: PLC0415

    secret = webhooks.secret_in(arguments.secret_file)
    wanted = RotateSecret(endpoint_id=arguments.endpoint, secret=secret, overlap=arguments.overlap)
    return webhooks.rotate_secret(load_settings(), wanted)


def _test(arguments: argparse.Namespace) -> Result:
    from chatledger.adapters.cli import webhooks  # noqa: PLC0415
    from chatledger.server_settings import load_settings  # noqa: PLC0415

    return webhooks.test(load_settings(), arguments.endpoint)


def _dead_letters(arguments: argparse.Namespace) -> Result:
    from chatledger.adapters.cli import webhooks  # noqa: PLC0415
    from chatledger.server_settings import load_settings  # noqa: PLC0415

    return webhooks.dead_letters(load_settings(), arguments.endpoint, arguments.limit)


def _replay(arguments: argparse.Namespace) -> Result:
    from chatledger.adapters.cli import webhooks  # noqa: PLC0415
    from chatledger.adapters.cli.webhook_orders import ReplayEndpoint  # noqa: PLC0415
    from chatledger.server_settings import load_settings  # noqa: PLC0415

    if arguments.dead_letters and arguments.after is not None:
        raise CommandFailedError("--dead-letters and --after exclude each other", WRONG_USAGE)
    if arguments.position and not arguments.dead_letters:
        raise CommandFailedError("--position needs --dead-letters", WRONG_USAGE)
    wanted = ReplayEndpoint(
        endpoint_id=arguments.endpoint,
        after=arguments.after,
        dead_letters=arguments.dead_letters,
        positions=tuple(arguments.position),
    )
    return webhooks.replay(load_settings(), wanted)
