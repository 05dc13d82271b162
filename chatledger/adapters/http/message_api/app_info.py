"""What an app is and what it takes."""

from collections.abc import Mapping, Sequence

import msgspec
from litestar import get
from litestar.handlers import HTTPRouteHandler
from litestar.response.base import ASGIResponse

from chatledger.adapters.http.answers import HttpRequest, answer
from chatledger.adapters.http.entrance import Entrance
from chatledger.adapters.http.errors import HttpError
from chatledger.adapters.http.message_api.parameters import AppParameters, app_parameters
from chatledger.adapters.http.openapi import Operation, documented
from chatledger.adapters.http.surface import Surface
from chatledger.application.ports.views import AppView
from chatledger.domain.configuration import EmojiIcon
from chatledger.domain.values import AppMode


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
        app = (await entrance.admit(request)).by_credential().app
        return answer(request, app_parameters(app.configuration, surface.application.uploading.limits(app)))

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
