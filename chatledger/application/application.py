"""The use cases of chatledger: its table of contents."""

import msgspec

from chatledger.application.audit.access_request import AccessRequests
from chatledger.application.audit.exporting import Exporting
from chatledger.application.audit.notarizing import Notarizing
from chatledger.application.audit.proving import Proving
from chatledger.application.audit.reads import ContentReads
from chatledger.application.audit.receipts import Receipts
from chatledger.application.audit.standing import Standing
from chatledger.application.caller import EndUsers
from chatledger.application.commands.annotating import Annotating
from chatledger.application.commands.asking import Asking
from chatledger.application.commands.deleting import DeletingConversations
from chatledger.application.commands.disconnecting import Disconnecting
from chatledger.application.commands.managing_apps import ManagingApps
from chatledger.application.commands.managing_operators import ManagingOperators
from chatledger.application.commands.managing_webhooks import ManagingWebhooks
from chatledger.application.commands.naming import Naming
from chatledger.application.commands.pinning import PinningConversations
from chatledger.application.commands.rating import RatingMessages
from chatledger.application.commands.rebuilding import Rebuilding
from chatledger.application.commands.renaming import RenamingConversations
from chatledger.application.commands.repeating import Repeating
from chatledger.application.commands.replaying import Replaying
from chatledger.application.commands.rotating_keys import RotatingKeys
from chatledger.application.commands.saving import SavingMessages
from chatledger.application.commands.sending import Sending
from chatledger.application.commands.setting_variables import SettingVariables
from chatledger.application.commands.speaking import Speaking
from chatledger.application.commands.stopping import Stopping
from chatledger.application.commands.suggesting import Suggesting
from chatledger.application.commands.uploading import Uploading
from chatledger.application.commands.visiting import Visiting
from chatledger.application.erasure.erasing import Erasing
from chatledger.application.erasure.holding import LegalHolds
from chatledger.application.ports.clock import Clock, IdFactory
from chatledger.application.ports.keys import SigningKeys
from chatledger.application.ports.rate_limiter import RateLimiter
from chatledger.application.ports.views import Views
from chatledger.application.queries.credentials import Credentials
from chatledger.application.queries.dead_letters import DeadLetters
from chatledger.application.queries.directory import AppDirectory
from chatledger.application.queries.facts import Facts
from chatledger.application.queries.feed import Feed
from chatledger.application.queries.feedbacks import Feedbacks
from chatledger.application.queries.following import Following
from chatledger.application.queries.history import History
from chatledger.application.queries.searching import Searching
from chatledger.application.queries.stored_files import StoredFiles


class Application(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that a caller can do or ask."""

    # commands
    sending: Sending
    asking: Asking
    stopping: Stopping
    disconnecting: Disconnecting
    renaming: RenamingConversations
    deleting: DeletingConversations
    setting_variables: SettingVariables
    rating: RatingMessages
    naming: Naming
    suggesting: Suggesting
    repeating: Repeating
    replaying: Replaying
    uploading: Uploading
    saving: SavingMessages
    pinning: PinningConversations
    visiting: Visiting
    annotating: Annotating
    speaking: Speaking
    erasing: Erasing
    holds: LegalHolds
    apps: ManagingApps
    operators: ManagingOperators
    notarizing: Notarizing
    rebuilding: Rebuilding
    rotating_keys: RotatingKeys
    webhooks: ManagingWebhooks
    # queries
    directory: AppDirectory
    credentials: Credentials
    history: History
    feedbacks: Feedbacks
    dead_letters: DeadLetters
    following: Following
    facts: Facts
    searching: Searching
    receipts: Receipts
    feed: Feed
    reads: ContentReads
    proving: Proving
    standing: Standing
    access_requests: AccessRequests
    exporting: Exporting
    files: StoredFiles
    end_users: EndUsers
    views: Views
    signing_keys: SigningKeys
    # operational state
    rate_limiter: RateLimiter
    # the one clock and the one id factory
    clock: Clock
    new_id: IdFactory
