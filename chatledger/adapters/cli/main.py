"""The command line. Its words are stable: scripts rely on them."""

import argparse
import gc
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias
from uuid import UUID

from chatledger.adapters.cli.console import WRONG_USAGE, CommandFailedError, Result, complain, show
from chatledger.adapters.cli.webhook_commands import add_webhooks
from chatledger.version import __version__

if TYPE_CHECKING:
    from chatledger.domain.values import EndUserKind

    Subcommands: TypeAlias = argparse._SubParsersAction[argparse.ArgumentParser]  # noqa: SLF001 - it has no other name

# What a command needs it imports when it runs: the server is up the sooner, and `--help` at once.

MODES = ("chat", "agent-chat", "completion")
SCOPES = ("operate", "audit", "erase")
INTERRUPTED = 130

Command = Callable[[argparse.Namespace], "Result | int"]


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; its exit code: 0 done, 1 refused or a problem found, 2 wrong usage or a wrong setting."""
    arguments = _parser().parse_args(argv)
    command: Command = arguments.command
    try:
        outcome = command(arguments)
        if isinstance(outcome, int):
            return outcome
        show(outcome, as_json=arguments.json)
    except KeyboardInterrupt:
        return INTERRUPTED
    except Exception as error:
        from chatledger.adapters.cli.failures import foreseen  # noqa: PLC0415

        failure = foreseen(error)
        if failure is None:
            raise
        complain(failure)
        return failure.exit_code
    return outcome.exit_code


# The commands


def _serve(arguments: argparse.Namespace) -> int:
    gc.disable()  # until it serves: it all but makes things, and is to be ready soon
    from chatledger.server_settings import load_settings  # noqa: PLC0415

    settings = load_settings(host=arguments.host, port=arguments.port)
    try:
        from chatledger.adapters.cli.serve import serve  # noqa: PLC0415
    except ModuleNotFoundError as error:
        if str(error.name).startswith("chatledger"):
            raise
        raise CommandFailedError("a server needs the extra `http`: install chatledger[http]") from error

    return serve(settings, with_worker=not arguments.no_worker, as_json=arguments.json)


def _work(arguments: argparse.Namespace) -> int:
    gc.disable()
    from chatledger.adapters.cli.worker import work  # noqa: PLC0415
    from chatledger.server_settings import load_settings  # noqa: PLC0415

    return work(load_settings(), as_json=arguments.json)


def _create_app(arguments: argparse.Namespace) -> Result:
    from chatledger.adapters.cli import apps  # noqa: PLC0415
    from chatledger.adapters.cli.orders import CreateApp  # noqa: PLC0415
    from chatledger.server_settings import load_settings  # noqa: PLC0415

    wanted = CreateApp(mode=arguments.mode, name=arguments.name, fields=_fields(arguments), change=dict(arguments.set))
    return apps.create(load_settings(), wanted)


def _list_apps(_: argparse.Namespace) -> Result:
    from chatledger.adapters.cli import apps  # noqa: PLC0415
    from chatledger.server_settings import load_settings  # noqa: PLC0415

    return apps.list_apps(load_settings())


def _show_app(arguments: argparse.Namespace) -> Result:
    from chatledger.adapters.cli import apps  # noqa: PLC0415
    from chatledger.server_settings import load_settings  # noqa: PLC0415

    if arguments.toml and arguments.json:
        raise CommandFailedError("--toml and --json exclude each other", WRONG_USAGE)
    show = apps.show_as_toml if arguments.toml else apps.show_app
    return show(load_settings(), arguments.app)


def _configure_app(arguments: argparse.Namespace) -> Result:
    from chatledger.adapters.cli import apps  # noqa: PLC0415
    from chatledger.adapters.cli.orders import ConfigureApp  # noqa: PLC0415
    from chatledger.server_settings import load_settings  # noqa: PLC0415

    if arguments.replace and arguments.file is None:
        raise CommandFailedError("--replace needs a --file", WRONG_USAGE)
    changes = ConfigureApp(
        app_id=arguments.app,
        fields=_fields(arguments),
        replaces=arguments.replace,
        change=dict(arguments.set),
        remove=tuple(arguments.unset),
    )
    return apps.configure(load_settings(), changes)


def _fields(arguments: argparse.Namespace) -> dict[str, Any]:
    """The fields of a configuration that the file and the options name."""
    from chatledger.adapters.cli.configuration import read_fields  # noqa: PLC0415

    fields = read_fields(arguments.file) if arguments.file else {}
    for name in ("generator", "opening_statement"):
        given = getattr(arguments, name)
        if given is not None:
            fields[name] = given
    return fields


def _rotate_key(arguments: argparse.Namespace) -> Result:
    from chatledger.adapters.cli import apps  # noqa: PLC0415
    from chatledger.server_settings import load_settings  # noqa: PLC0415

    return apps.rotate_key(load_settings(), arguments.app)


def _renew_site(arguments: argparse.Namespace) -> Result:
    from chatledger.adapters.cli import apps  # noqa: PLC0415
    from chatledger.server_settings import load_settings  # noqa: PLC0415

    return apps.renew_site(load_settings(), arguments.app)


def _switch_app(arguments: argparse.Namespace) -> Result:
    from chatledger.adapters.cli import apps  # noqa: PLC0415
    from chatledger.server_settings import load_settings  # noqa: PLC0415

    return apps.switch(load_settings(), arguments.app, arguments.status)


def _set_retention(arguments: argparse.Namespace) -> Result:
    from chatledger.adapters.cli import apps  # noqa: PLC0415
    from chatledger.server_settings import load_settings  # noqa: PLC0415

    return apps.set_retention(load_settings(), arguments.app, arguments.days)


def _erase(arguments: argparse.Namespace) -> Result:
    from chatledger.adapters.cli import people  # noqa: PLC0415
    from chatledger.adapters.cli.people_orders import EraseUser  # noqa: PLC0415
    from chatledger.server_settings import load_settings  # noqa: PLC0415

    wanted = EraseUser(app_id=arguments.app, user=arguments.user, kind=_kind(arguments))
    return people.erase(load_settings(), wanted, arguments.receipt, is_sure=arguments.yes)


def _place_hold(arguments: argparse.Namespace) -> Result:
    from chatledger.adapters.cli import people  # noqa: PLC0415
    from chatledger.adapters.cli.people_orders import PlaceHold  # noqa: PLC0415
    from chatledger.server_settings import load_settings  # noqa: PLC0415

    wanted = PlaceHold(app_id=arguments.app, user=arguments.user, reason=arguments.reason, kind=_kind(arguments))
    return people.place_hold(load_settings(), wanted)


def _release_hold(arguments: argparse.Namespace) -> Result:
    from chatledger.adapters.cli import people  # noqa: PLC0415
    from chatledger.server_settings import load_settings  # noqa: PLC0415

    return people.release_hold(load_settings(), arguments.hold)


def _list_holds(arguments: argparse.Namespace) -> Result:
    from chatledger.adapters.cli import people  # noqa: PLC0415
    from chatledger.server_settings import load_settings  # noqa: PLC0415

    return people.list_holds(load_settings(), arguments.app)


def _kind(arguments: argparse.Namespace) -> "EndUserKind":
    return "browser" if arguments.visitor else "service-api"


def _issue_token(arguments: argparse.Namespace) -> Result:
    from chatledger.adapters.cli import operators  # noqa: PLC0415
    from chatledger.adapters.cli.people_orders import IssueToken  # noqa: PLC0415
    from chatledger.server_settings import load_settings  # noqa: PLC0415

    return operators.issue(load_settings(), IssueToken(arguments.name, tuple(arguments.scope)))


def _list_operators(_: argparse.Namespace) -> Result:
    from chatledger.adapters.cli import operators  # noqa: PLC0415
    from chatledger.server_settings import load_settings  # noqa: PLC0415

    return operators.list_operators(load_settings())


def _revoke_token(arguments: argparse.Namespace) -> Result:
    from chatledger.adapters.cli import operators  # noqa: PLC0415
    from chatledger.server_settings import load_settings  # noqa: PLC0415

    return operators.revoke(load_settings(), arguments.operator)


def _rotate_passport_key(arguments: argparse.Namespace) -> Result:
    from chatledger.adapters.cli import passports  # noqa: PLC0415
    from chatledger.server_settings import load_settings  # noqa: PLC0415

    return passports.rotate_key(load_settings(), forget_earlier=arguments.forget_earlier)


def _sign_checkpoint(_: argparse.Namespace) -> Result:
    from chatledger.adapters.cli import notary  # noqa: PLC0415
    from chatledger.server_settings import load_settings  # noqa: PLC0415

    return notary.sign_checkpoint(load_settings())


def _show_notary(_: argparse.Namespace) -> Result:
    from chatledger.adapters.cli import notary  # noqa: PLC0415
    from chatledger.server_settings import load_settings  # noqa: PLC0415

    return notary.show(load_settings())


def _rotate_notary_key(_: argparse.Namespace) -> Result:
    from chatledger.adapters.cli import notary  # noqa: PLC0415
    from chatledger.server_settings import load_settings  # noqa: PLC0415

    return notary.rotate_key(load_settings())


def _rotate_master_key(_: argparse.Namespace) -> Result:
    from chatledger.adapters.cli import keys  # noqa: PLC0415
    from chatledger.server_settings import load_settings  # noqa: PLC0415

    return keys.rotate_master(load_settings())


def _rotate_user_key(arguments: argparse.Namespace) -> Result:
    from chatledger.adapters.cli import keys  # noqa: PLC0415
    from chatledger.adapters.cli.orders import RotateUserKey  # noqa: PLC0415
    from chatledger.server_settings import load_settings  # noqa: PLC0415

    wanted = RotateUserKey(app_id=arguments.app, user=arguments.user, kind=_kind(arguments))
    return keys.rotate_user(load_settings(), wanted)


def _copy_keys(arguments: argparse.Namespace) -> Result:
    from chatledger.adapters.cli import keys  # noqa: PLC0415
    from chatledger.server_settings import load_settings  # noqa: PLC0415

    return keys.copy(load_settings(), arguments.to, remove_source=arguments.remove_source)


def _list_dead_letters(arguments: argparse.Namespace) -> Result:
    from chatledger.adapters.cli import dead_letters  # noqa: PLC0415
    from chatledger.server_settings import load_settings  # noqa: PLC0415

    return dead_letters.list_letters(
        load_settings(), arguments.app, arguments.code, everything=arguments.all, limit=arguments.limit
    )


def _show_dead_letter(arguments: argparse.Namespace) -> Result:
    from chatledger.adapters.cli import dead_letters  # noqa: PLC0415
    from chatledger.server_settings import load_settings  # noqa: PLC0415

    return dead_letters.show_letter(load_settings(), arguments.message)


def _replay_dead_letters(arguments: argparse.Namespace) -> Result:
    from chatledger.adapters.cli import dead_letters  # noqa: PLC0415
    from chatledger.adapters.cli.orders import ReplayDeadLetters  # noqa: PLC0415
    from chatledger.server_settings import load_settings  # noqa: PLC0415

    if bool(arguments.message) == (arguments.all_of_app is not None):
        raise CommandFailedError("name messages, or an app by --all-of-app", WRONG_USAGE)
    if arguments.force and arguments.all_of_app is not None:
        raise CommandFailedError("--force is for single messages: --all-of-app replays what is open", WRONG_USAGE)
    wanted = ReplayDeadLetters(message_ids=tuple(arguments.message), app_id=arguments.all_of_app, force=arguments.force)
    return dead_letters.replay(load_settings(), wanted)


def _replay(arguments: argparse.Namespace) -> "Result | int":
    from chatledger.adapters.cli.replay import WantedReplay, replay  # noqa: PLC0415
    from chatledger.server_settings import load_settings  # noqa: PLC0415

    wanted = WantedReplay(
        stream_id=arguments.id,
        as_of=arguments.as_of,
        speed=arguments.speed,
        against=arguments.against,
        change=dict(arguments.set),
        concurrency=arguments.concurrency,
    )
    return replay(load_settings(), wanted, as_json=arguments.json)


def _migrate(_: argparse.Namespace) -> Result:
    from chatledger.adapters.cli import rebuild  # noqa: PLC0415
    from chatledger.server_settings import load_settings  # noqa: PLC0415

    return rebuild.migrate(load_settings())


def _restored(_: argparse.Namespace) -> Result:
    from chatledger.adapters.cli import rebuild  # noqa: PLC0415
    from chatledger.server_settings import load_settings  # noqa: PLC0415

    return rebuild.restored(load_settings())


def _rebuild(arguments: argparse.Namespace) -> Result:
    from chatledger.adapters.cli import rebuild  # noqa: PLC0415
    from chatledger.server_settings import load_settings  # noqa: PLC0415

    settings = load_settings()
    return rebuild.check(settings) if arguments.check else rebuild.rebuild(settings)


def _export(arguments: argparse.Namespace) -> "Result | int":
    from chatledger.adapters.cli.export import WantedExport, export  # noqa: PLC0415
    from chatledger.adapters.cli.person_export import export_person  # noqa: PLC0415
    from chatledger.server_settings import load_settings  # noqa: PLC0415

    if arguments.json and arguments.output is None:
        raise CommandFailedError("--json needs --output: without it the export is on stdout", WRONG_USAGE)
    if arguments.person:
        if arguments.app is None or arguments.user is None:
            raise CommandFailedError("--person needs --app and --user", WRONG_USAGE)
        if arguments.conversation or arguments.files or arguments.keys:
            raise CommandFailedError("--person goes with --app, --user and --output alone", WRONG_USAGE)
        return export_person(load_settings(), arguments.app, arguments.user, arguments.output)
    wanted = WantedExport(
        app_id=arguments.app,
        user=arguments.user,
        conversation_id=arguments.conversation,
        output=arguments.output,
        files=arguments.files,
        keys=arguments.keys,
    )
    return export(load_settings(), wanted)


def _receipt(arguments: argparse.Namespace) -> Result:
    from chatledger.adapters.cli import receipt  # noqa: PLC0415
    from chatledger.server_settings import load_settings  # noqa: PLC0415

    return receipt.make(load_settings(), arguments.id, arguments.output, with_key=arguments.with_key)


def _verify(arguments: argparse.Namespace) -> Result:
    from chatledger.adapters.cli.verify import verify  # noqa: PLC0415

    return verify(arguments.public_key, arguments.since, arguments.file)


def _tail(arguments: argparse.Namespace) -> int:
    from chatledger.adapters.cli.tail import WantedTail, tail  # noqa: PLC0415
    from chatledger.server_settings import load_settings  # noqa: PLC0415

    wanted = WantedTail(
        after=arguments.after, app_id=arguments.app, with_content=arguments.content, as_json=arguments.json
    )
    return tail(load_settings(), wanted)


def _import(arguments: argparse.Namespace) -> Result:
    from chatledger.adapters.cli.importing import import_ledger  # noqa: PLC0415
    from chatledger.server_settings import load_settings  # noqa: PLC0415

    return import_ledger(load_settings(), arguments.file, arguments.files)


def _doctor(_: argparse.Namespace) -> Result:
    from chatledger.adapters.cli.doctor import doctor  # noqa: PLC0415
    from chatledger.server_settings import load_settings  # noqa: PLC0415

    return doctor(load_settings())


# Their words


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="chatledger",
        description="A chat backend on an event-sourced ledger.",
        epilog="Settings come from the environment (CHATLEDGER_DATA_DIR, ...), then from chatledger.toml.",
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"chatledger {__version__}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    _add_serve(commands)
    _add_apps(commands)
    _add_passports(commands)
    _add_keys(commands)
    _add_dead_letters(commands)
    add_webhooks(commands, _add, _app_id, _count)
    _add_notary(commands)
    _add_people(commands)
    _add_operators(commands)
    _add(commands, "migrate", _migrate, "make the store, or bring its schema up to date")
    _add(commands, "restored", _restored, "begin another incarnation of a ledger that was restored from a backup")
    rebuild = _add(commands, "rebuild", _rebuild, "make the read models anew from the ledger")
    rebuild.add_argument("--check", action="store_true", help="only compare them with a replay; exit 1 if they differ")
    _add_replay(commands)
    _add_export(commands)
    _add_verify(commands)
    _add_receipt(commands)
    _add_import(commands)
    _add_tail(commands)
    _add(commands, "doctor", _doctor, "check settings, data folder, store and keys; exit 1 if something is wrong")
    return parser


def _add(commands: "Subcommands", name: str, command: Command, does: str) -> argparse.ArgumentParser:
    parser = commands.add_parser(name, help=does, description=f"{does[0].upper()}{does[1:]}.", allow_abbrev=False)
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.set_defaults(command=command)
    return parser


def _add_serve(commands: "Subcommands") -> None:
    serve = _add(commands, "serve", _serve, "run the server")
    serve.add_argument("--host", help="address to listen at (127.0.0.1)")
    serve.add_argument("--port", type=int, help="port to listen at (8000); 0 takes a free one")
    serve.add_argument("--no-worker", action="store_true", help="accept messages, but leave answering to others")
    _add(commands, "worker", _work, "answer messages that the servers of other processes accept")


def _add_apps(commands: "Subcommands") -> None:
    apps = commands.add_parser("apps", help="set up apps and their keys", allow_abbrev=False)
    actions = apps.add_subparsers(title="commands", metavar="COMMAND", required=True)

    create = _add(actions, "create", _create_app, "set up an app and show its key, this once")
    create.add_argument("--mode", choices=MODES, required=True)
    create.add_argument("--name", type=_name, required=True)
    create.add_argument("--generator", metavar="NAME", help="what answers (extractive)")
    _add_configuration(create)

    _add(actions, "list", _list_apps, "list all apps")
    show = _add(actions, "show", _show_app, "show an app and its configuration")
    _add_app(show)
    show.add_argument("--toml", action="store_true", help="only the configuration, as a file for apps configure")

    configure = _add(actions, "configure", _configure_app, "change an app's configuration; what is not named stays")
    _add_app(configure)
    configure.add_argument(
        "--generator", metavar="NAME", help="what answers; another one than before begins without settings"
    )
    _add_configuration(configure)
    configure.add_argument("--unset", action="append", default=[], metavar="KEY", help="remove a setting")
    configure.add_argument("--replace", action="store_true", help="what is not named goes back to its default instead")

    _add_app(_add(actions, "rotate-key", _rotate_key, "replace all keys of an app by a new one, shown this once"))
    _add_app(
        _add(actions, "renew-site", _renew_site, "replace the code of an app's site: the earlier ones let nobody in")
    )
    retention = _add(actions, "retention", _set_retention, "set for how long an app keeps conversations that rest")
    _add_app(retention)
    kept = retention.add_mutually_exclusive_group(required=True)
    kept.add_argument("--days", type=_count, metavar="N", help="erase them after so many days")
    kept.add_argument("--for-ever", action="store_true", help="erase none by age")
    for name, status, does in (
        ("disable", "disabled", "let an app answer nobody until it is enabled"),
        ("enable", "normal", "let an app answer again"),
        ("delete", "deleted", "let an app be gone for good; what was said in it stays on the ledger"),
    ):
        switch = _add(actions, name, _switch_app, does)
        switch.set_defaults(status=status)
        _add_app(switch)


def _add_people(commands: "Subcommands") -> None:
    erase = _add(commands, "erase", _erase, "erase a person for good, and wait until it is done")
    _add_person(erase)
    erase.add_argument("--receipt", type=Path, metavar="FILE", help="a new file for the receipt; else it is printed")
    erase.add_argument("--yes", action="store_true", help="do not ask: for scripts")

    holds = commands.add_parser("hold", help="legal holds: what keeps people from being erased", allow_abbrev=False)
    actions = holds.add_subparsers(title="commands", metavar="COMMAND", required=True)
    place = _add(actions, "place", _place_hold, "let nothing of a person's be erased")
    _add_person(place)
    place.add_argument("--reason", type=_name, required=True, help="why, for whoever looks it over")
    release = _add(actions, "release", _release_hold, "end a hold")
    release.add_argument("hold", type=_hold_id, metavar="HOLD", help="the hold's id")
    listed = _add(actions, "list", _list_holds, "list those that were not released, the last placed first")
    listed.add_argument("--app", type=_app_id, metavar="APP", help="those of this app's people")


def _add_person(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--app", type=_app_id, metavar="APP", required=True, help="the app's id")
    parser.add_argument("--user", type=_name, required=True, help="what the app calls the person, or their own id")
    parser.add_argument("--visitor", action="store_true", help="a visitor of the app's site, by their own id")


def _add_operators(commands: "Subcommands") -> None:
    operators = commands.add_parser("operators", help="the tokens of operators", allow_abbrev=False)
    actions = operators.add_subparsers(title="commands", metavar="COMMAND", required=True)
    issue = _add(actions, "issue", _issue_token, "make a token and show it, this once")
    issue.add_argument("--name", type=_name, required=True)
    issue.add_argument("--scope", choices=SCOPES, action="append", required=True, help="what it opens; one or several")
    _add(actions, "list", _list_operators, "list those whose tokens open something")
    revoke = _add(actions, "revoke", _revoke_token, "let a token open nothing any more")
    revoke.add_argument("operator", type=_operator_id, metavar="OPERATOR", help="the operator's id")


def _add_passports(commands: "Subcommands") -> None:
    passports = commands.add_parser("passports", help="the keys that sign visitors' passports", allow_abbrev=False)
    actions = passports.add_subparsers(title="commands", metavar="COMMAND", required=True)
    rotate = _add(actions, "rotate-key", _rotate_passport_key, "sign passports by a new key")
    rotate.add_argument(
        "--forget-earlier", action="store_true", help="void the passports that the earlier keys have signed"
    )


def _add_notary(commands: "Subcommands") -> None:
    _add(commands, "checkpoint", _sign_checkpoint, "sign the ledger as it is now, and print the checkpoint")
    notary = commands.add_parser("notary", help="who signs checkpoints of the ledger", allow_abbrev=False)
    actions = notary.add_subparsers(title="commands", metavar="COMMAND", required=True)
    _add(
        actions, "show", _show_notary, "print the log's name, the keys to check its checkpoints with, and the last one"
    )
    _add(actions, "rotate-key", _rotate_notary_key, "sign with a new key, which the old one introduces")


def _add_keys(commands: "Subcommands") -> None:
    keys = commands.add_parser("keys", help="the keys that wrap all others, and where they are", allow_abbrev=False)
    actions = keys.add_subparsers(title="commands", metavar="COMMAND", required=True)
    _add(actions, "rotate-master", _rotate_master_key, "put a new master key in the place of the present one")
    _add_person(_add(actions, "rotate-user", _rotate_user_key, "wrap the keys of what is a person's by a new secret"))
    copied = _add(actions, "copy", _copy_keys, "copy all keys into the database, or back into the data folder")
    copied.add_argument("--to", choices=("database", "folder"), required=True, help="where they are to be")
    copied.add_argument("--remove-source", action="store_true", help="then destroy them where they were")


def _add_dead_letters(commands: "Subcommands") -> None:
    letters = commands.add_parser("dead-letters", help="messages that failed for good", allow_abbrev=False)
    actions = letters.add_subparsers(title="commands", metavar="COMMAND", required=True)

    listed = _add(actions, "list", _list_dead_letters, "list those in whose place nothing was asked yet, newest first")
    listed.add_argument("--app", type=_app_id, metavar="APP", help="those of this app")
    listed.add_argument("--code", help="those with this error code")
    listed.add_argument("--all", action="store_true", help="those that were replayed too")
    listed.add_argument("--limit", type=_count, default=100, metavar="N", help="how many at most (100)")

    shown = _add(actions, "show", _show_dead_letter, "show one, and what became of its attempts")
    shown.add_argument("message", type=_message_id, metavar="MESSAGE", help="the message's id")

    replayed = _add(actions, "replay", _replay_dead_letters, "ask again; exit 1 if any of them is refused")
    replayed.add_argument("message", type=_message_id, nargs="*", metavar="MESSAGE", help="ids of messages")
    replayed.add_argument("--all-of-app", type=_app_id, metavar="APP", help="all of an app's that are still open")
    replayed.add_argument(
        "--force", action="store_true", help="even where an earlier replay is unfinished or was answered"
    )


def _add_replay(commands: "Subcommands") -> None:
    replay = _add(commands, "replay", _replay, "show a message or a conversation once more as its clients saw it")
    replay.add_argument("id", type=_subject_id, metavar="ID", help="the id of a message or a conversation")
    replay.add_argument("--as-of", metavar="T", help="up to a position of the ledger, or a time (RFC 3339)")
    replay.add_argument("--speed", type=_speed, metavar="X", help="so many times the recorded pace; 0 or max: at once")
    replay.add_argument("--against", metavar="GENERATOR", help="ask this generator the same, or an app's: its id")
    replay.add_argument(
        "--set", action="append", default=[], type=_pair, metavar="KEY=VALUE", help="a setting of that generator"
    )
    replay.add_argument("--concurrency", type=_count, metavar="N", help="messages that it is asked for at once (4)")


def _add_export(commands: "Subcommands") -> None:
    export = _add(commands, "export", _export, "write the ledger, or a part of it, as lines of JSON (CloudEvents)")
    export.add_argument("--app", type=_app_id, metavar="APP", help="what is this app's")
    export.add_argument("--user", metavar="USER", help="what is this person's, by the id that the app or we gave them")
    export.add_argument("--conversation", type=_conversation_id, metavar="ID", help="this conversation")
    export.add_argument("--person", action="store_true", help="all of the person instead, readable, in one document")
    export.add_argument("--output", type=Path, metavar="FILE", help="a new file; one that is not whole is taken up")
    export.add_argument("--files", type=Path, metavar="FOLDER", help="copy the sealed bytes of uploaded files there")
    export.add_argument("--keys", type=Path, metavar="FILE", help="copy the key store there, without its master key")


def _add_receipt(commands: "Subcommands") -> None:
    receipt = _add(commands, "receipt", _receipt, "make a file that proves a message or a conversation to anybody")
    receipt.add_argument("id", type=_subject_id, metavar="ID", help="of the message or the conversation")
    receipt.add_argument("--output", type=Path, metavar="FILE", help="a new file; without it the receipt is printed")
    receipt.add_argument(
        "--with-key",
        action="store_true",
        help="give away the key that opens all of its conversation, to prove contents",
    )


def _add_verify(commands: "Subcommands") -> None:
    verify = _add(commands, "verify", _verify, "prove that the ledger is what was signed; exit 1 if it is not")
    verify.add_argument(
        "--public-key", action="append", default=[], metavar="K", help="a key whose signatures count, from elsewhere"
    )
    verify.add_argument(
        "--since", action="append", default=[], type=Path, metavar="FILE", help="checkpoints that were kept elsewhere"
    )
    verify.add_argument("file", nargs="?", type=Path, metavar="FILE", help="a ledger's file or an export, instead")


def _add_tail(commands: "Subcommands") -> None:
    tail = _add(commands, "tail", _tail, "print the ledger's events as they land, until it is ended")
    tail.add_argument("--after", type=_position, metavar="P", help="from after this position on; 0 for all (the end)")
    tail.add_argument("--app", type=_app_id, metavar="APP", help="those of this app")
    tail.add_argument("--content", action="store_true", help="show what people wrote and were answered, too")


def _add_import(commands: "Subcommands") -> None:
    imported = _add(commands, "import", _import, "bring an exported ledger into an empty store")
    imported.add_argument("file", type=Path, metavar="FILE", help="the export of a whole ledger")
    imported.add_argument("--files", type=Path, metavar="FOLDER", help="the sealed bytes of files that went along")


def _add_app(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("app", type=_app_id, metavar="APP", help="the app's id")


def _add_configuration(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--file", type=Path, metavar="FILE.toml", help="fields of the configuration as TOML")
    parser.add_argument("--opening-statement", metavar="TEXT", help="what a new conversation begins with")
    parser.add_argument(
        "--set", action="append", default=[], type=_pair, metavar="KEY=VALUE", help="a setting of the generator"
    )


def _app_id(text: str) -> UUID:
    return _id_of("an app", text)


def _subject_id(text: str) -> UUID:
    return _id_of("a message or a conversation", text)


def _hold_id(text: str) -> UUID:
    return _id_of("a hold", text)


def _operator_id(text: str) -> UUID:
    return _id_of("an operator", text)


def _message_id(text: str) -> UUID:
    return _id_of("a message", text)


def _conversation_id(text: str) -> UUID:
    return _id_of("a conversation", text)


def _id_of(what: str, text: str) -> UUID:
    try:
        return UUID(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not {what}'s id") from None


def _subject_id(text: str) -> UUID:
    return _id_of("a message's or a conversation", text)


def _speed(text: str) -> float:
    try:
        speed = 0.0 if text == "max" else float(text)
    except ValueError:
        speed = -1.0
    if not 0 <= speed < float("inf"):
        raise argparse.ArgumentTypeError(f"{text!r} is not a number from 0 on, or max")
    return speed


def _position(text: str) -> int:
    if not text.isascii() or not text.isdigit():
        raise argparse.ArgumentTypeError(f"{text!r} is not a position")
    return int(text)


def _count(text: str) -> int:
    if not text.isascii() or not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number from 1 on")
    return int(text)


def _name(text: str) -> str:
    if not text.strip():
        raise argparse.ArgumentTypeError("must not be empty")
    return text


def _pair(text: str) -> tuple[str, str]:
    key, equals, value = text.partition("=")
    if not (key and equals):
        raise argparse.ArgumentTypeError(f"{text!r} is not KEY=VALUE")
    return key, value
