"""The files of a message: what its sender refers to, and whether they may."""

import re
from collections.abc import Mapping, Sequence
from typing import Any, Literal, get_args
from urllib.parse import unquote, urlsplit
from uuid import UUID

import msgspec

from chatledger.application.accepting import accept_text
from chatledger.application.errors import InvalidParameterError
from chatledger.application.files.limits import extension_of, plain_name
from chatledger.application.ports.clock import IdFactory
from chatledger.application.ports.views import AppView, Views
from chatledger.domain.configuration import AppConfiguration, FileUpload
from chatledger.domain.inputs import InputVariable
from chatledger.domain.values import AttachedFile, FileKind

LONGEST_URL = 4_096

_NOT_IN_ADDRESSES = re.compile(r"[\s\\\x00-\x1f\x7f-\x9f]")

Method = Literal["remote_url", "local_file"]


class FileReference(msgspec.Struct, frozen=True, kw_only=True):
    """A file as a message names it: stored here, or somewhere on the web.

    Attributes:
        type: what it is to be used as.
        upload_file_id: of the upload, for a ``local_file``.
        url: where it is, for a ``remote_url``. chatledger does not fetch it: it is handed on to the generator.
    """

    type: FileKind
    transfer_method: Method
    upload_file_id: UUID | None = None
    url: str | None = None


class FileRules(msgspec.Struct, frozen=True, kw_only=True):
    """Which files may be there. An empty tuple allows everything.

    Attributes:
        field: what refusals name.
        place: what the text of a refusal begins with, if not with the field.
        no_reference: the whole text for a value that is no reference, in place of what is wrong with it.
        most: how many.
        extensions: in lower case, with or without a dot.
    """

    field: str
    place: str = ""
    no_reference: str = ""
    kinds: tuple[FileKind, ...] = ()
    methods: tuple[Method, ...] = ()
    extensions: tuple[str, ...] = ()
    most: int | None = None

    @classmethod
    def of_app(cls, upload: FileUpload) -> "FileRules":
        """The rules for what is sent beside the inputs."""
        return cls(field="files", kinds=upload.kinds, methods=upload.transfer_methods, most=upload.number_limits)

    @classmethod
    def of_variable(cls, variable: InputVariable) -> "FileRules":
        """The rules for the value of an input. How many it may have is checked with its form."""
        place = f"{variable.variable} in input form"
        return cls(
            field="inputs",
            place=place,
            no_reference=f"{place} must be {'a file' if variable.type == 'file' else 'a list of files'}",
            kinds=variable.allowed_file_types,
            methods=variable.allowed_file_upload_methods,
            extensions=variable.allowed_file_extensions,
        )

    def refusal(self, reason: str) -> InvalidParameterError:
        """That a file may not be there."""
        return InvalidParameterError(self.field, f"{self.place or self.field}: {reason}")


class Attaching:
    """Turns references into the files that a message carries."""

    def __init__(self, views: Views, new_id: IdFactory) -> None:
        self._views = views
        self._new_id = new_id

    async def attach(
        self, app: AppView, end_user_id: UUID, given: Sequence[object], inputs: Mapping[str, Any]
    ) -> tuple[dict[str, Any], tuple[AttachedFile, ...]]:
        """The files beside the inputs and those in them; and the inputs, with the names of files as values.

        Where the app takes no files, those beside the inputs are passed over.

        Raises:
            InvalidParameterError: one is no reference, of a kind that is not allowed, unknown or another user's; or
                there are too many.
        """
        configuration = app.configuration
        values, attached = dict(inputs), list(await self._beside(app, end_user_id, given))
        for variable in _file_variables(configuration):
            value = values.get(variable.variable)
            if value is None:
                continue
            references = [value] if variable.type == "file" else value
            files = await self.accept(FileRules.of_variable(variable), end_user_id, references)
            names = [file.name for file in files]
            values[variable.variable] = names[0] if variable.type == "file" else names
            attached += [msgspec.structs.replace(file, variable=variable.variable) for file in files]
        detail = configuration.file_upload.detail
        return values, tuple(
            msgspec.structs.replace(file, detail=detail) if file.kind == "image" else file for file in attached
        )

    async def _beside(self, app: AppView, end_user_id: UUID, given: Sequence[object]) -> Sequence[AttachedFile]:
        upload = app.configuration.file_upload
        if not upload.enabled:
            return ()
        return await self.accept(FileRules.of_app(upload), end_user_id, given)

    async def accept(self, rules: FileRules, end_user_id: UUID, given: Sequence[object]) -> list[AttachedFile]:
        """What these references name.

        Raises:
            InvalidParameterError: one of them may not be there.
        """
        if isinstance(given, str) or not isinstance(given, Sequence):
            raise InvalidParameterError(rules.field, f"{rules.field} must be a list")
        if rules.most is not None and len(given) > rules.most:
            raise InvalidParameterError(rules.field, f"{rules.field} may hold {rules.most} files")
        return [await self._accept(rules, end_user_id, read_reference(rules, reference)) for reference in given]

    async def _accept(self, rules: FileRules, end_user_id: UUID, reference: FileReference) -> AttachedFile:
        if rules.kinds and reference.type not in rules.kinds:
            raise rules.refusal(f"a file of type {reference.type} is not allowed")
        if rules.methods and reference.transfer_method not in rules.methods:
            raise rules.refusal(f"the transfer method {reference.transfer_method} is not allowed")
        file = (
            self._remote(rules, reference)
            if reference.transfer_method == "remote_url"
            else await self._local(rules, end_user_id, reference)
        )
        allowed = {extension.lower().removeprefix(".") for extension in rules.extensions}
        if allowed and extension_of(file.name) not in allowed:
            raise rules.refusal("a file with this extension is not allowed")
        return file

    async def _local(self, rules: FileRules, end_user_id: UUID, reference: FileReference) -> AttachedFile:
        """Somebody else's file is as unknown as one that does not exist. Each app has users of its own."""
        if reference.upload_file_id is None:
            raise rules.refusal("upload_file_id is required for a local_file")
        file = await self._views.file(reference.upload_file_id)
        if file is None or file.end_user_id != end_user_id or file.is_erased:
            raise rules.refusal("upload_file_id names no file of this user")
        if reference.type not in {file.kind, "custom"} and (file.kind, reference.type) != ("custom", "document"):
            raise rules.refusal(f"the file is of type {file.kind}, not {reference.type}")
        return AttachedFile(
            file_id=self._new_id(),
            kind=reference.type,
            transfer_method="local_file",
            belongs_to="user",
            name=file.name,
            mime_type=file.mime_type,
            size=file.size,
            upload_file_id=file.file_id,
        )

    def _remote(self, rules: FileRules, reference: FileReference) -> AttachedFile:
        url = accept_text(rules.field, reference.url or "")
        if not _is_web_address(url):
            raise rules.refusal("url must be an http:// or https:// address without blanks and credentials")
        return AttachedFile(
            file_id=self._new_id(),
            kind=reference.type,
            transfer_method="remote_url",
            belongs_to="user",
            name=_name_in(url),
            url=url,
        )


def read_reference(rules: FileRules, given: object) -> FileReference:
    """A reference, from JSON perhaps.

    Raises:
        InvalidParameterError: it is none.
    """
    if isinstance(given, FileReference):
        return given
    if not isinstance(given, Mapping):
        raise _no_reference(rules, f"{rules.field} must hold objects with type and transfer_method")
    for name, choices in (("type", get_args(FileKind)), ("transfer_method", get_args(Method))):
        if given.get(name) not in choices:
            raise _no_reference(rules, f"{rules.field}: {name} must be one of: {', '.join(choices)}")
    known = {name: given.get(name) or None for name in FileReference.__struct_fields__}
    try:
        return msgspec.convert(known, FileReference)
    except msgspec.ValidationError:
        raise _no_reference(rules, f"{rules.field}: upload_file_id must be a UUID, and url a text") from None


def _no_reference(rules: FileRules, reason: str) -> InvalidParameterError:
    return InvalidParameterError(rules.field, rules.no_reference or reason)


def _file_variables(configuration: AppConfiguration) -> list[InputVariable]:
    return [variable for variable in configuration.user_input_form if variable.type in {"file", "file-list"}]


def _is_web_address(url: str) -> bool:
    """Whether it leads to a host, in one reading only, and carries no secret of whoever sent it."""
    try:
        parts = urlsplit(url)
        is_plain = parts.port != 0 and "@" not in parts.netloc and _NOT_IN_ADDRESSES.search(url) is None
    except ValueError:
        return False
    return is_plain and parts.scheme in {"http", "https"} and bool(parts.hostname) and len(url) <= LONGEST_URL


def _name_in(url: str) -> str:
    """What a file at this address is called: the last part of its path; without one, its host."""
    parts = urlsplit(url)
    return plain_name(unquote(parts.path)) or parts.hostname or url
