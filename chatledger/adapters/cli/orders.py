"""What the writing commands order. A running server carries an order out, or else the command's own process."""

import asyncio
from typing import TYPE_CHECKING, Any, TypeAlias
from uuid import UUID

import msgspec

from chatledger.adapters.cli import webhook_orders
from chatledger.adapters.cli.configuration import ImpossibleConfigurationError, convert_fields, merged
from chatledger.adapters.cli.console import CommandFailedError
from chatledger.adapters.cli.people_orders import PeopleOrder, carry_out
from chatledger.adapters.cli.webhook_orders import WebhookOrder
from chatledger.application.audit.receipt import SubjectKind
from chatledger.domain.configuration import AppConfiguration
from chatledger.domain.values import AppMode, AppStatus, EndUserKind

if TYPE_CHECKING:
    from chatledger.application.context import Context
    from chatledger.application.ledger.rebuild import Progress
    from chatledger.application.ports.notary import SignedCheckpoint
    from chatledger.bootstrap import Running

DEFAULT_GENERATOR = "extractive"

QUERY_VARIABLE = "query"


class CreateApp(msgspec.Struct, frozen=True, kw_only=True, tag="apps create"):
    """Set up an app.

    Attributes:
        fields: of its configuration; what is left out is as it is by default.
        change: settings of the generator that are laid over those.
    """

    mode: AppMode
    name: str
    fields: dict[str, Any] = {}
    change: dict[str, Any] = {}


class ConfigureApp(msgspec.Struct, frozen=True, kw_only=True, tag="apps configure"):
    """Change an app's configuration: first by fields, then setting by setting.

    Attributes:
        fields: fields of the configuration with their new values.
        replaces: whether what is left out of them goes back to its default; else it stays.
        change: settings of the generator with their new values.
        remove: settings of the generator to go back to its own defaults.
    """

    app_id: UUID
    fields: dict[str, Any] = {}
    replaces: bool = False
    change: dict[str, Any] = {}
    remove: tuple[str, ...] = ()


class RotateKey(msgspec.Struct, frozen=True, tag="apps rotate-key"):
    """Replace all keys of an app by a new one."""

    app_id: UUID


class RenewSite(msgspec.Struct, frozen=True, tag="apps renew-site"):
    """Replace the code of an app's site by a new one."""

    app_id: UUID


class SwitchApp(msgspec.Struct, frozen=True, tag="apps switch"):
    """Let an app answer nobody, or answer again, or be gone for good."""

    app_id: UUID
    status: AppStatus


class RotatePassportKey(msgspec.Struct, frozen=True, tag="passports rotate-key"):
    """Sign passports by a new key; with ``forget_earlier`` those that were signed by another one are void."""

    forget_earlier: bool = False


class SignCheckpoint(msgspec.Struct, frozen=True, tag="checkpoint"):
    """Sign the ledger as it is now."""


class RotateNotaryKey(msgspec.Struct, frozen=True, tag="notary rotate-key"):
    """Sign checkpoints with a new key."""


class RotateMasterKey(msgspec.Struct, frozen=True, tag="keys rotate-master"):
    """Put a new master key in the place of the present one."""


class RotateUserKey(msgspec.Struct, frozen=True, kw_only=True, tag="keys rotate-user"):
    """Wrap the keys of a person's conversations and files by a new secret."""

    app_id: UUID
    user: str
    kind: EndUserKind = "service-api"


class ReplayDeadLetters(msgspec.Struct, frozen=True, kw_only=True, tag="dead-letters replay"):
    """Ask again what failed for good: these messages, or all of an app's that are still open.

    Attributes:
        force: whether to do so even where an earlier replay is unfinished or was answered.
    """

    message_ids: tuple[UUID, ...] = ()
    app_id: UUID | None = None
    force: bool = False


class MakeReceipt(msgspec.Struct, frozen=True, kw_only=True, tag="receipt"):
    """Make a receipt of a message or a conversation; with ``with_key`` it gives away what opens the sealed parts."""

    subject_id: UUID
    with_key: bool = False


class Rebuild(msgspec.Struct, frozen=True, tag="rebuild"):
    """Make the read models anew."""


class Ping(msgspec.Struct, frozen=True, tag="ping"):
    """Say who you are."""


TurnOrder: TypeAlias = (
    CreateApp
    | ConfigureApp
    | RotateKey
    | RenewSite
    | SwitchApp
    | RotatePassportKey
    | SignCheckpoint
    | RotateNotaryKey
    | RotateMasterKey
    | RotateUserKey
    | ReplayDeadLetters
    | MakeReceipt
)
"""Those that are carried out one after another."""

Order: TypeAlias = TurnOrder | PeopleOrder | WebhookOrder | Rebuild | Ping


class Created(msgspec.Struct, frozen=True):
    """A new app, and the only showing of its key."""

    app_id: UUID
    api_key: str
    mode: AppMode
    site_code: str


class Configured(msgspec.Struct, frozen=True):
    """An app's configuration from here on."""

    app_id: UUID
    configuration: dict[str, Any]


class Rotated(msgspec.Struct, frozen=True):
    """The new key, shown this once."""

    app_id: UUID
    api_key: str


class Renewed(msgspec.Struct, frozen=True):
    """The new code of a site."""

    app_id: UUID
    site_code: str


class Switched(msgspec.Struct, frozen=True):
    """Whether an app answers from here on."""

    app_id: UUID
    status: AppStatus


class PassportKeyRotated(msgspec.Struct, frozen=True):
    """Which key signs passports from here on."""

    key_id: UUID


class Signed(msgspec.Struct, frozen=True):
    """The last checkpoint: the log, how many events it covers, and the signed note."""

    origin: str
    size: int
    note: str


class NotaryKeyRotated(msgspec.Struct, frozen=True):
    """What the signatures of the new key are checked with, and the checkpoint that both keys have signed."""

    verifier_key: str
    checkpoint: Signed


class MasterKeyRotated(msgspec.Struct, frozen=True):
    """How many keys the new master key wraps."""

    keys: int


class UserKeyRotated(msgspec.Struct, frozen=True):
    """How many keys of a person have a new wrap."""

    end_user_id: UUID
    keys: int


class Replay(msgspec.Struct, frozen=True, kw_only=True):
    """What came of one dead letter: the message in its place and the task of its answer, or why there is none."""

    message_id: UUID
    replay: UUID | None = None
    task_id: UUID | None = None
    refusal: str | None = None


class Replayed(msgspec.Struct, frozen=True):
    """What came of each dead letter, in their order.

    Attributes:
        are_answered: whether answers are made where the order was carried out; else the next server makes them.
    """

    replays: list[Replay]
    are_answered: bool


class ReceiptMade(msgspec.Struct, frozen=True, kw_only=True):
    """A receipt, as its file is to be, what it is of, and how many events it has."""

    kind: SubjectKind
    events: int
    receipt: str


class ServerInfo(msgspec.Struct, frozen=True):
    """Who answers a ping."""

    pid: int
    url: str
    version: str


def first_configuration(
    mode: AppMode, fields: dict[str, Any], settings: dict[str, Any], *, query_required: bool = False
) -> AppConfiguration:
    """A new app's configuration. The query of a completion app is one of its inputs, so it has to be declared.

    Raises:
        ImpossibleConfigurationError: a field is unknown, or cannot be what was given.
    """
    first: dict[str, Any] = {"generator": DEFAULT_GENERATOR}
    if mode == "completion":
        query = {"variable": QUERY_VARIABLE, "type": "paragraph", "label": "Query", "required": query_required}
        first["user_input_form"] = [query]
    configuration = convert_fields(first | fields)
    return msgspec.structs.replace(configuration, settings=configuration.settings | settings)


def changed_configuration(current: AppConfiguration, order: ConfigureApp) -> AppConfiguration:
    """A configuration after an order. Settings belong to a generator: with another one they begin anew.

    Raises:
        ImpossibleConfigurationError: a field is unknown, or cannot be what was given.
        KeyError: a setting is to be removed that is not there.
    """
    before: dict[str, Any] = {"generator": current.generator} if order.replaces else msgspec.to_builtins(current)
    if order.fields.get("generator", current.generator) != current.generator:
        before.pop("settings", None)
    changed = convert_fields(merged(before, order.fields))
    settings = dict(changed.settings)
    for name in order.remove:
        del settings[name]
    return msgspec.structs.replace(changed, settings=settings | order.change)


class Orders:
    """Carries orders out on an open chatledger, one after another: each sees what the one before has changed.

    A rebuild changes nothing that another order could see, and takes long: nobody waits for it.
    """

    def __init__(self, running: "Running", info: ServerInfo) -> None:
        self._running = running
        self._info = info
        self._turn = asyncio.Lock()

    async def carry_out(self, order: Order, progress: "Progress") -> msgspec.Struct:
        """Do it; what came of it.

        Raises:
            ApplicationError: the order was refused; nothing was changed.
            StorageUnavailableError: the store is in trouble; nothing was changed.
        """
        if isinstance(order, Ping):
            return self._info
        if isinstance(order, Rebuild):
            return await self._running.application.rebuilding.rebuild(progress)
        if isinstance(order, PeopleOrder):  # erasing takes its time, and none of them changes what another sees
            return await carry_out(self._running.application, order, self._context(), progress)
        if isinstance(order, WebhookOrder):  # an endpoint may take its time to answer
            return await webhook_orders.carry_out(self._running.application, order, self._context())
        async with self._turn:
            return await self._in_turn(order, progress)

    async def _in_turn(self, order: TurnOrder, progress: "Progress") -> msgspec.Struct:
        match order:
            case ReplayDeadLetters():
                return await self._replay(order, progress)
            case SignCheckpoint() | RotateNotaryKey() | MakeReceipt():
                return await self._notarize(order)
            case RotatePassportKey() | RotateMasterKey() | RotateUserKey():
                return await self._rotate(order)
            case _:
                return await self._manage(order)

    async def _notarize(self, order: SignCheckpoint | RotateNotaryKey | MakeReceipt) -> msgspec.Struct:
        notarizing = self._running.application.notarizing
        match order:
            case SignCheckpoint():
                return _signed(await notarizing.checkpoint(self._context()))
            case RotateNotaryKey():
                signed = await notarizing.rotate_key(self._context())
                return NotaryKeyRotated(str(notarizing.keys.newest().key), _signed(signed))
            case MakeReceipt():
                return await self._make_receipt(order)

    async def _manage(self, order: CreateApp | ConfigureApp | RotateKey | RenewSite | SwitchApp) -> msgspec.Struct:
        apps = self._running.application.apps
        match order:
            case CreateApp():
                return await self._create(order)
            case ConfigureApp():
                return await self._configure(order)
            case RotateKey():
                return Rotated(order.app_id, await apps.rotate_key(order.app_id, self._context()))
            case RenewSite():
                return Renewed(order.app_id, await apps.renew_site(order.app_id, self._context()))
            case SwitchApp():
                return await self._switch(order)

    async def _create(self, order: CreateApp) -> Created:
        from chatledger.application.errors import InvalidParameterError  # noqa: PLC0415

        try:
            configuration = first_configuration(order.mode, order.fields, order.change)
        except ImpossibleConfigurationError as error:
            raise InvalidParameterError(error.field, str(error)) from error
        apps = self._running.application.apps
        app = await apps.create(order.mode, order.name, configuration, self._context())
        return Created(app.app_id, app.api_key, app.mode, app.site_code)

    async def _configure(self, order: ConfigureApp) -> Configured:
        from chatledger.application.errors import InvalidParameterError  # noqa: PLC0415

        def change(current: AppConfiguration) -> AppConfiguration:
            try:
                return changed_configuration(current, order)
            except ImpossibleConfigurationError as error:
                raise InvalidParameterError(error.field, str(error)) from error
            except KeyError as error:
                raise InvalidParameterError("settings", f"{error.args[0]} is not set") from error

        apps = self._running.application.apps
        configuration = await apps.reconfigure(order.app_id, change, self._context())
        return Configured(order.app_id, msgspec.to_builtins(configuration))

    async def _switch(self, order: SwitchApp) -> Switched:
        apps = self._running.application.apps
        match order.status:
            case "normal":
                await apps.enable(order.app_id, self._context())
            case "disabled":
                await apps.disable(order.app_id, self._context())
            case "deleted":
                await apps.delete(order.app_id, self._context())
        return Switched(order.app_id, order.status)

    async def _rotate(self, order: RotatePassportKey | RotateMasterKey | RotateUserKey) -> msgspec.Struct:
        application = self._running.application
        match order:
            case RotatePassportKey():
                rotate = application.signing_keys.rotate
                key = await asyncio.to_thread(rotate, forget_earlier=order.forget_earlier)
                return PassportKeyRotated(key.key_id)
            case RotateMasterKey():
                return MasterKeyRotated(await application.rotating_keys.rotate_master_key(self._context()))
            case RotateUserKey():
                app = await application.directory.app(order.app_id)
                person = await application.end_users.named_or_own(app.app_id, order.kind, order.user)
                keys = await application.rotating_keys.rotate_key_of(person, self._context())
                return UserKeyRotated(person, keys)

    async def _replay(self, order: ReplayDeadLetters, progress: "Progress") -> Replayed:
        letters = order.message_ids if order.app_id is None else await self._open_letters(order.app_id)
        replays = list[Replay]()
        for message_id in letters:
            replays.append(await self._replay_one(message_id, force=order.force))
            progress(len(replays), len(letters))
        return Replayed(replays, self._running.worker is not None)

    async def _open_letters(self, app_id: UUID) -> list[UUID]:
        """In the order in which they failed."""
        from chatledger.application.accepting import MAX_PAGE  # noqa: PLC0415
        from chatledger.application.ports.dead_letters import WantedLetters  # noqa: PLC0415
        from chatledger.application.ports.views import Page  # noqa: PLC0415

        application = self._running.application
        await application.directory.app(app_id)
        wanted, has_more, found = WantedLetters(app_id=app_id, is_open=True), True, list[UUID]()
        while has_more:
            page = Page(MAX_PAGE, found[-1] if found else None)
            letters, has_more = await application.dead_letters.page(wanted, page)
            found += [letter.message_id for letter in letters]
        return found[::-1]

    async def _replay_one(self, message_id: UUID, *, force: bool) -> Replay:
        from chatledger.adapters.cli.failures import foreseen  # noqa: PLC0415
        from chatledger.application.errors import ApplicationError  # noqa: PLC0415
        from chatledger.application.ports.keys import KeyDestroyedError  # noqa: PLC0415

        try:
            sent = await self._running.application.replaying.replay(message_id, self._context(), force=force)
        except (ApplicationError, KeyDestroyedError) as error:
            return Replay(message_id=message_id, refusal=str(foreseen(error)))
        return Replay(message_id=message_id, replay=sent.message_id, task_id=sent.task_id)

    async def _make_receipt(self, order: MakeReceipt) -> ReceiptMade:
        from chatledger.application.caller import Auditor  # noqa: PLC0415
        from chatledger.application.errors import NotFoundError  # noqa: PLC0415

        application = self._running.application
        console = Auditor(operator_id=None, correlation_id=application.new_id())
        try:
            receipt = await application.receipts.of_either(console, order.subject_id, with_key=order.with_key)
        except NotFoundError:
            raise CommandFailedError("there is no such message or conversation, and no erased person") from None
        return ReceiptMade(kind=receipt.subject.kind, events=len(receipt.events), receipt=bytes(receipt).decode())

    def _context(self) -> "Context":
        return operator_context(self._running)


def _signed(checkpoint: "SignedCheckpoint") -> Signed:
    return Signed(checkpoint.origin, checkpoint.size, checkpoint.note.decode())


def operator_context(running: "Running") -> "Context":
    """The metadata of what whoever runs the server does at the command line."""
    from chatledger.application.context import OPERATOR, Context  # noqa: PLC0415

    return Context(actor=OPERATOR, correlation_id=running.application.new_id())
