"""What an app is and what it takes."""

from collections.abc import Mapping, Sequence
from typing import Any, get_args

import msgspec
from litestar import get
from litestar.handlers import HTTPRouteHandler
from litestar.response.base import ASGIResponse

from chatledger.adapters.http.answers import HttpRequest, answer
from chatledger.adapters.http.entrance import Entrance
from chatledger.adapters.http.errors import HttpError
from chatledger.adapters.http.openapi import Operation, documented
from chatledger.adapters.http.surface import Surface
from chatledger.application.files.limits import FileLimits
from chatledger.application.ports.views import AppView
from chatledger.domain import configuration
from chatledger.domain.configuration import EmojiIcon
from chatledger.domain.inputs import InputVariable
from chatledger.domain.values import AppMode, FileKind


class Welcome(msgspec.Struct, frozen=True):
    """What answers here."""

    welcome: str
    api_version: str
    server_version: str


class AppInfo(msgspec.Struct, frozen=True, kw_only=True):
    """An app, as it presents itself."""

    name: str
    description: str
    tags: Sequence[str]
    mode: AppMode
    author_name: str


class Enabled(msgspec.Struct, frozen=True):
    """Whether a feature is on."""

    enabled: bool = False


class TextToSpeech(msgspec.Struct, frozen=True, rename={"auto_play": "autoPlay"}):
    """Whether answers are spoken, and how."""

    enabled: bool = False
    voice: str | None = None
    language: str | None = None
    auto_play: str | None = None


class WordAvoidance(msgspec.Struct, frozen=True):
    """Whether words are filtered, and how."""

    enabled: bool = False
    type: str = ""
    configs: Sequence[Any] = ()


class ImageUpload(msgspec.Struct, frozen=True):
    """Whether images can be sent along, and how."""

    enabled: bool
    number_limits: int
    detail: str
    transfer_methods: Sequence[str]


class FileUpload(msgspec.Struct, frozen=True, kw_only=True):
    """Whether files can be sent along, which and how. ``image`` is what older clients read."""

    enabled: bool
    number_limits: int
    allowed_file_types: Sequence[FileKind]
    allowed_file_upload_methods: Sequence[str]
    image: ImageUpload


class SystemParameters(msgspec.Struct, frozen=True):
    """Limits of uploads, in megabytes; the last one a count."""

    file_size_limit: int
    image_file_size_limit: int
    audio_file_size_limit: int
    video_file_size_limit: int
    workflow_file_upload_limit: int = 10


class AppParameters(msgspec.Struct, frozen=True, kw_only=True):
    """What a client needs to know to draw the app's form and features."""

    opening_statement: str
    suggested_questions: Sequence[str]
    suggested_questions_after_answer: Enabled
    speech_to_text: Enabled = Enabled()
    text_to_speech: TextToSpeech = TextToSpeech()
    retriever_resource: Enabled
    annotation_reply: Enabled = Enabled()
    more_like_this: Enabled
    user_input_form: Sequence[Mapping[str, Mapping[str, Any]]]
    sensitive_word_avoidance: WordAvoidance = WordAvoidance()
    file_upload: FileUpload
    system_parameters: SystemParameters


class Meta(msgspec.Struct, frozen=True):
    """What the app's tools look like: the address of an icon, or a sign on a ground, by the tool's name."""

    tool_icons: Mapping[str, str | EmojiIcon]


class SiteObject(msgspec.Struct, frozen=True, kw_only=True):
    """How the app's page presents it."""

    title: str
    chat_color_theme: str | None
    chat_color_theme_inverted: bool
    icon_type: str | None
    icon: str | None
    icon_background: str | None
    icon_url: str | None
    description: str | None
    copyright: str | None
    privacy_policy: str | None
    input_placeholder: str | None
    custom_disclaimer: str | None
    default_language: str
    show_workflow_steps: bool
    use_icon_as_answer_icon: bool


_WELCOME = Operation(tag="App", summary="Say what answers here", credential=None, answers={200: Welcome})
_INFO = Operation(tag="App", summary="Say what the app is", answers={200: AppInfo})
_PARAMETERS = Operation(tag="App", summary="Say what the app takes", answers={200: AppParameters})

_META = Operation(tag="App", summary="Say what the app's tools look like", answers={200: Meta})
_SITE = Operation(tag="App", summary="Say how the app's page presents it", answers={200: SiteObject}, errors=(403,))


def welcome_routes(surface: Surface) -> Sequence[HTTPRouteHandler]:
    """The handler that asks for no credential."""
    welcome = Welcome("Dify OpenAPI", "v1", surface.settings.version)

    @get("/v1", opt=documented(_WELCOME))
    async def say_welcome(request: HttpRequest) -> ASGIResponse:
        return answer(request, welcome)

    return (say_welcome,)


def app_info_routes(surface: Surface, entrance: Entrance) -> Sequence[HTTPRouteHandler]:
    """The handlers that answer at every entrance."""

    @get(f"{entrance.prefix}/info", opt=entrance.documented(_INFO))
    async def describe_app(request: HttpRequest) -> ASGIResponse:
        app = (await entrance.admit(request)).by_credential().app
        configuration = app.configuration
        info = AppInfo(
            name=app.name,
            description=configuration.description,
            tags=configuration.tags,
            mode=app.mode,
            author_name=configuration.author_name,
        )
        return answer(request, info)

    @get(f"{entrance.prefix}/parameters", opt=entrance.documented(_PARAMETERS))
    async def describe_parameters(request: HttpRequest) -> ASGIResponse:
        configuration = (await entrance.admit(request)).app.configuration
        parameters = AppParameters(
            opening_statement=configuration.opening_statement,
            suggested_questions=configuration.suggested_questions,
            suggested_questions_after_answer=Enabled(configuration.suggested_questions_after_answer.enabled),
            retriever_resource=Enabled(configuration.retriever_resource),
            more_like_this=Enabled(configuration.more_like_this.enabled),
            file_upload=_file_upload(configuration.file_upload),
            system_parameters=_system_parameters(surface.application.uploading.limits),
            user_input_form=[_form_entry(variable) for variable in configuration.user_input_form],
        )
        return answer(request, parameters)

    @get(f"{entrance.prefix}/meta", opt=entrance.documented(_META))
    async def describe_tools(request: HttpRequest) -> ASGIResponse:
        app = (await entrance.admit(request)).by_credential().app
        return answer(request, Meta(app.configuration.tool_icons))

    @get(f"{entrance.prefix}/site", opt=entrance.documented(_SITE))
    async def describe_site(request: HttpRequest) -> ASGIResponse:
        app = (await entrance.admit(request)).by_credential().app
        if not app.configuration.site.enabled:
            raise HttpError(403)
        return answer(request, _site_object(app))

    return describe_app, describe_parameters, describe_tools, describe_site


def _site_object(app: AppView) -> SiteObject:
    shown = msgspec.structs.asdict(app.configuration.site)
    del shown["enabled"]
    return SiteObject(**shown | {"title": app.configuration.site.title or app.name})


def _file_upload(configured: configuration.FileUpload) -> FileUpload:
    kinds = configured.kinds or get_args(FileKind)
    image = ImageUpload(
        enabled=configured.enabled and "image" in kinds,
        number_limits=configured.number_limits,
        detail=configured.detail,
        transfer_methods=configured.transfer_methods,
    )
    return FileUpload(
        enabled=configured.enabled,
        number_limits=configured.number_limits,
        allowed_file_types=kinds,
        allowed_file_upload_methods=configured.transfer_methods,
        image=image,
    )


def _system_parameters(limits: FileLimits) -> SystemParameters:
    return SystemParameters(
        file_size_limit=limits.other,
        image_file_size_limit=limits.image,
        audio_file_size_limit=limits.audio,
        video_file_size_limit=limits.video,
    )


def _form_entry(variable: InputVariable) -> Mapping[str, Mapping[str, Any]]:
    """One variable under its kind, as clients of Dify draw it."""
    entry: dict[str, Any] = {
        "label": variable.label or variable.variable,
        "variable": variable.variable,
        "required": variable.required,
        "default": "" if variable.default is None else variable.default,
    }
    if variable.max_length is not None:
        entry["max_length"] = variable.max_length
    if variable.type == "select":
        entry["options"] = variable.options
    return {variable.type: entry}
