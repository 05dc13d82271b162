"""The HTTP application: every route, one error table, nothing between the server and the handlers."""

from litestar import Litestar
from litestar.datastructures import State

from chatledger.adapters.http.admin_api.dead_letters import dead_letter_routes
from chatledger.adapters.http.admin_api.keys import key_routes
from chatledger.adapters.http.admin_api.notary import notary_routes
from chatledger.adapters.http.admin_api.operators import operator_routes
from chatledger.adapters.http.admin_api.people import erasure_routes, hold_routes
from chatledger.adapters.http.admin_api.person_export import person_export_routes
from chatledger.adapters.http.admin_api.rebuild import rebuild_routes
from chatledger.adapters.http.admin_api.retention import retention_routes
from chatledger.adapters.http.admin_api.webhooks import webhook_routes
from chatledger.adapters.http.cors import cors_config, pass_over_other_origins
from chatledger.adapters.http.errors import answer_error
from chatledger.adapters.http.ledger_api.events import event_routes
from chatledger.adapters.http.ledger_api.feed import feed_routes
from chatledger.adapters.http.ledger_api.messages import message_detail_routes
from chatledger.adapters.http.ledger_api.proofs import proof_routes
from chatledger.adapters.http.ledger_api.receipts import receipt_routes
from chatledger.adapters.http.ledger_api.search import search_routes
from chatledger.adapters.http.ledger_api.streams import stream_routes
from chatledger.adapters.http.ledger_api.tasks import task_routes
from chatledger.adapters.http.message_api.annotations import annotation_reply_routes, annotation_routes
from chatledger.adapters.http.message_api.app_info import app_info_routes, welcome_routes
from chatledger.adapters.http.message_api.audio import audio_routes
from chatledger.adapters.http.message_api.conversations import conversation_routes
from chatledger.adapters.http.message_api.end_users import end_user_routes
from chatledger.adapters.http.message_api.feedback import feedback_routes
from chatledger.adapters.http.message_api.feedback_list import feedback_list_routes
from chatledger.adapters.http.message_api.files import file_link_routes, file_routes
from chatledger.adapters.http.message_api.messages import message_routes
from chatledger.adapters.http.message_api.more_like_this import more_like_this_routes
from chatledger.adapters.http.message_api.regenerating import regenerate_routes
from chatledger.adapters.http.message_api.sending import send_routes
from chatledger.adapters.http.message_api.stopping import stop_routes
from chatledger.adapters.http.message_api.suggestions import suggestion_routes
from chatledger.adapters.http.message_api.variables import variable_routes
from chatledger.adapters.http.options import with_options
from chatledger.adapters.http.settings import HttpSettings
from chatledger.adapters.http.shutdown import Shutdown, note_arrivals
from chatledger.adapters.http.site.health import ReadinessCheck, health_routes
from chatledger.adapters.http.site.pages import page_routes
from chatledger.adapters.http.surface import Surface
from chatledger.adapters.http.web_api.passports import passport_routes
from chatledger.adapters.http.web_api.pins import pin_routes
from chatledger.adapters.http.web_api.saved_messages import saved_message_routes
from chatledger.application.application import Application


def create_http_app(
    application: Application, settings: HttpSettings, is_ready: ReadinessCheck, shutdown: Shutdown
) -> Litestar:
    """The application that a server serves.

    ``is_ready`` raises while the server cannot work; it may take its time, which the health route bounds.
    """
    surface = Surface(application, settings, shutdown)
    app = Litestar(
        route_handlers=with_options(
            [
                *welcome_routes(surface),
                *surface.at_each_entrance(send_routes),
                *surface.at_each_entrance(stop_routes),
                *surface.at_each_entrance(message_routes),
                *surface.at_each_entrance(suggestion_routes),
                *surface.at_each_entrance(more_like_this_routes),
                *surface.at_each_entrance(feedback_routes),
                *surface.at_each_entrance(conversation_routes),
                *surface.at_each_entrance(variable_routes),
                *surface.at_each_entrance(regenerate_routes),
                *surface.at_each_entrance(app_info_routes),
                *surface.at_each_entrance(file_routes),
                *surface.at_each_entrance(audio_routes),
                *file_link_routes(surface),
                *passport_routes(surface),
                *saved_message_routes(surface),
                *pin_routes(surface),
                *feedback_list_routes(surface),
                *annotation_routes(surface),
                *annotation_reply_routes(surface),
                *end_user_routes(surface),
                *surface.at_each_entrance(task_routes),
                *surface.at_each_entrance(message_detail_routes),
                *surface.at_each_entrance(event_routes),
                *surface.at_each_entrance(receipt_routes),
                *surface.at_each_entrance(stream_routes),
                *feed_routes(surface),
                *search_routes(surface),
                *webhook_routes(surface),
                *dead_letter_routes(surface),
                *key_routes(surface),
                *erasure_routes(surface),
                *hold_routes(surface),
                *person_export_routes(surface),
                *retention_routes(surface),
                *operator_routes(surface),
                *proof_routes(surface),
                *notary_routes(surface),
                *rebuild_routes(surface),
                *health_routes(surface, is_ready),
                *page_routes(settings),
            ]
        ),
        exception_handlers={Exception: answer_error},
        cors_config=cors_config(settings.cors_origins),
        logging_config=None,
        openapi_config=None,
        state=State({"new_id": application.new_id, "rate_limiting": surface.rate_limiting, "shutdown": shutdown}),
    )
    pass_over_other_origins(app)
    note_arrivals(app, shutdown)
    return app
