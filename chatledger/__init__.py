"""Event-sourced chat backend: a server, and a library that other services embed.

Importing it costs next to nothing. Each name is loaded by its first use, and none of them loads an HTTP server.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from chatledger.version import __version__ as __version__

if TYPE_CHECKING:
    from chatledger.adapters.generator.agent import AgentGenerator as AgentGenerator
    from chatledger.adapters.generator.agent_tools import ToolError as ToolError
    from chatledger.adapters.generator.agent_tools import ToolOutput as ToolOutput
    from chatledger.adapters.keys.master import MasterKeyError as MasterKeyError
    from chatledger.adapters.persistence.tracking import Projection as Projection
    from chatledger.application.audit.delivering import SinkStatus as SinkStatus
    from chatledger.application.audit.export_file import ExportFileError as ExportFileError
    from chatledger.application.audit.export_lines import ExportBegun as ExportBegun
    from chatledger.application.audit.export_lines import UnexportableError as UnexportableError
    from chatledger.application.audit.proving import ConsistencyProof as ConsistencyProof
    from chatledger.application.audit.standing import NotaryStanding as NotaryStanding
    from chatledger.application.audit.tlog_proof import TlogProof as TlogProof
    from chatledger.application.commands.annotating import AnnotationPage as AnnotationPage
    from chatledger.application.commands.asking import Answer as Answer
    from chatledger.application.commands.managing_apps import CreatedApp as CreatedApp
    from chatledger.application.commands.managing_operators import IssuedToken as IssuedToken
    from chatledger.application.commands.managing_webhooks import EndpointState as EndpointState
    from chatledger.application.commands.managing_webhooks import RegisteredEndpoint as RegisteredEndpoint
    from chatledger.application.commands.managing_webhooks import Trial as Trial
    from chatledger.application.commands.rebuilding import RebuildReport as RebuildReport
    from chatledger.application.commands.rebuilding import RebuildStatus as RebuildStatus
    from chatledger.application.commands.uploading import UploadedFile as UploadedFile
    from chatledger.application.context import Actor as Actor
    from chatledger.application.context import Context as Context
    from chatledger.application.errors import AlreadyReplayedError as AlreadyReplayedError
    from chatledger.application.errors import AnswerPendingError as AnswerPendingError
    from chatledger.application.errors import ApplicationError as ApplicationError
    from chatledger.application.errors import AppUnavailableError as AppUnavailableError
    from chatledger.application.errors import ClosedError as ClosedError
    from chatledger.application.errors import ConversationBusyError as ConversationBusyError
    from chatledger.application.errors import FeatureDisabledError as FeatureDisabledError
    from chatledger.application.errors import FileTooLargeError as FileTooLargeError
    from chatledger.application.errors import GenerationFailedError as GenerationFailedError
    from chatledger.application.errors import HeldError as HeldError
    from chatledger.application.errors import IdempotencyKeyReusedError as IdempotencyKeyReusedError
    from chatledger.application.errors import InvalidParameterError as InvalidParameterError
    from chatledger.application.errors import LedgerInconsistentError as LedgerInconsistentError
    from chatledger.application.errors import NotFoundError as NotFoundError
    from chatledger.application.errors import QuotaUsedUpError as QuotaUsedUpError
    from chatledger.application.errors import RebuildRunningError as RebuildRunningError
    from chatledger.application.errors import SpeechToTextDisabledError as SpeechToTextDisabledError
    from chatledger.application.errors import SpeechToTextUnsupportedError as SpeechToTextUnsupportedError
    from chatledger.application.errors import TooLongError as TooLongError
    from chatledger.application.errors import TooManyRequestsError as TooManyRequestsError
    from chatledger.application.errors import TypeMismatchError as TypeMismatchError
    from chatledger.application.errors import UnauthorizedError as UnauthorizedError
    from chatledger.application.errors import UnsupportedAudioError as UnsupportedAudioError
    from chatledger.application.errors import WrongModeError as WrongModeError
    from chatledger.application.files.attaching import FileReference as FileReference
    from chatledger.application.ledger.envelope import Envelope as Envelope
    from chatledger.application.ledger.envelope import Fact as Fact
    from chatledger.application.ledger.hand_ins import VersionConflictError as VersionConflictError
    from chatledger.application.ledger.subscription import Handler as Handler
    from chatledger.application.ledger.subscription import SubscriptionStatus as SubscriptionStatus
    from chatledger.application.ledger.subscription import SubscriptionStoppedError as SubscriptionStoppedError
    from chatledger.application.ledger.subscriptions import SubscriptionProblemError as SubscriptionProblemError
    from chatledger.application.ports.annotations import AnnotationView as AnnotationView
    from chatledger.application.ports.dead_letters import DeadLetter as DeadLetter
    from chatledger.application.ports.erasure import Erasure as Erasure
    from chatledger.application.ports.erasure import Hold as Hold
    from chatledger.application.ports.generator import Exchange as Exchange
    from chatledger.application.ports.generator import FileMade as FileMade
    from chatledger.application.ports.generator import Finish as Finish
    from chatledger.application.ports.generator import GenerationRequest as GenerationRequest
    from chatledger.application.ports.generator import Generator as Generator
    from chatledger.application.ports.generator import GeneratorError as GeneratorError
    from chatledger.application.ports.generator import Part as Part
    from chatledger.application.ports.generator import Retrieved as Retrieved
    from chatledger.application.ports.generator import SentFile as SentFile
    from chatledger.application.ports.generator import SettingsError as SettingsError
    from chatledger.application.ports.generator import StepBegan as StepBegan
    from chatledger.application.ports.generator import StepEnded as StepEnded
    from chatledger.application.ports.generator import Text as Text
    from chatledger.application.ports.generator import TokenCount as TokenCount
    from chatledger.application.ports.generator import ToolCall as ToolCall
    from chatledger.application.ports.generator import ToolsReturned as ToolsReturned
    from chatledger.application.ports.keys import KeyDestroyedError as KeyDestroyedError
    from chatledger.application.ports.notary import SignedCheckpoint as SignedCheckpoint
    from chatledger.application.ports.read_models import ComparedTable as ComparedTable
    from chatledger.application.ports.storage import CommitInDoubtError as CommitInDoubtError
    from chatledger.application.ports.storage import SchemaError as SchemaError
    from chatledger.application.ports.storage import StorageUnavailableError as StorageUnavailableError
    from chatledger.application.ports.storage import StoreBusyError as StoreBusyError
    from chatledger.application.ports.text_model import OffersTextModel as OffersTextModel
    from chatledger.application.ports.text_model import TextModel as TextModel
    from chatledger.application.ports.text_model import TextRequest as TextRequest
    from chatledger.application.ports.tracking import ParkedStream as ParkedStream
    from chatledger.application.ports.views import AppView as AppView
    from chatledger.application.ports.views import ConversationView as ConversationView
    from chatledger.application.ports.views import EndUserDetail as EndUserDetail
    from chatledger.application.ports.views import FeedbackView as FeedbackView
    from chatledger.application.ports.views import FileView as FileView
    from chatledger.application.ports.views import MessageView as MessageView
    from chatledger.application.ports.views import OperatorDetail as OperatorDetail
    from chatledger.application.ports.views import OperatorView as OperatorView
    from chatledger.application.ports.views import VariableView as VariableView
    from chatledger.application.ports.webhooks import Endpoint as Endpoint
    from chatledger.application.ports.webhooks import Undelivered as Undelivered
    from chatledger.application.queries.dead_letters import DeadLetterDetail as DeadLetterDetail
    from chatledger.application.queries.dead_letters import PastAttempt as PastAttempt
    from chatledger.application.queries.feed import FeedEvent as FeedEvent
    from chatledger.application.queries.feed import FeedPage as FeedPage
    from chatledger.application.queries.history import MessageDetail as MessageDetail
    from chatledger.application.queries.history import Task as Task
    from chatledger.domain.configuration import AnnotationReply as AnnotationReply
    from chatledger.domain.configuration import AppConfiguration as AppConfiguration
    from chatledger.domain.configuration import DeclaredVariable as DeclaredVariable
    from chatledger.domain.configuration import EmojiIcon as EmojiIcon
    from chatledger.domain.configuration import FileUpload as FileUpload
    from chatledger.domain.configuration import Limits as Limits
    from chatledger.domain.configuration import ModerationOfStage as ModerationOfStage
    from chatledger.domain.configuration import Prices as Prices
    from chatledger.domain.configuration import Site as Site
    from chatledger.domain.configuration import Switch as Switch
    from chatledger.domain.configuration import TextToSpeech as TextToSpeech
    from chatledger.domain.configuration import WordAvoidance as WordAvoidance
    from chatledger.domain.events import AgentThoughtRecorded as AgentThoughtRecorded
    from chatledger.domain.events import AnnotationMatched as AnnotationMatched
    from chatledger.domain.events import AnswerChunkAppended as AnswerChunkAppended
    from chatledger.domain.events import AnswerReplaced as AnswerReplaced
    from chatledger.domain.events import FeedbackGiven as FeedbackGiven
    from chatledger.domain.events import FeedbackWithdrawn as FeedbackWithdrawn
    from chatledger.domain.events import FileAttached as FileAttached
    from chatledger.domain.events import GenerationRequeued as GenerationRequeued
    from chatledger.domain.events import GenerationStarted as GenerationStarted
    from chatledger.domain.events import MessageCompleted as MessageCompleted
    from chatledger.domain.events import MessageCreated as MessageCreated
    from chatledger.domain.events import MessageErrored as MessageErrored
    from chatledger.domain.events import MessageStopped as MessageStopped
    from chatledger.domain.events import ModerationHit as ModerationHit
    from chatledger.domain.events import ResourcesRetrieved as ResourcesRetrieved
    from chatledger.domain.events import StopRequested as StopRequested
    from chatledger.domain.inputs import InputVariable as InputVariable
    from chatledger.domain.values import Account as Account
    from chatledger.domain.values import AttachedFile as AttachedFile
    from chatledger.domain.values import Resource as Resource
    from chatledger.domain.values import Thought as Thought
    from chatledger.domain.values import Usage as Usage
    from chatledger.embedding.chatledger import Chatledger as Chatledger
    from chatledger.embedding.values import SentMessage as SentMessage
    from chatledger.embedding.values import Slice as Slice
    from chatledger.embedding.values import Visitor as Visitor
    from chatledger.settings import Settings as Settings
    from chatledger.settings import SettingsProblemError as SettingsProblemError

_HOMES = {
    "adapters.generator.agent": ("AgentGenerator",),
    "adapters.generator.agent_tools": (
        "ToolError",
        "ToolOutput",
    ),
    "adapters.keys.master": ("MasterKeyError",),
    "adapters.persistence.tracking": ("Projection",),
    "application.audit.delivering": ("SinkStatus",),
    "application.audit.export_file": ("ExportFileError",),
    "application.audit.export_lines": (
        "ExportBegun",
        "UnexportableError",
    ),
    "application.audit.proving": ("ConsistencyProof",),
    "application.audit.standing": ("NotaryStanding",),
    "application.audit.tlog_proof": ("TlogProof",),
    "application.commands.annotating": ("AnnotationPage",),
    "application.commands.asking": ("Answer",),
    "application.commands.managing_apps": ("CreatedApp",),
    "application.commands.managing_operators": ("IssuedToken",),
    "application.commands.managing_webhooks": (
        "EndpointState",
        "RegisteredEndpoint",
        "Trial",
    ),
    "application.commands.rebuilding": (
        "RebuildReport",
        "RebuildStatus",
    ),
    "application.commands.uploading": ("UploadedFile",),
    "application.context": (
        "Actor",
        "Context",
    ),
    "application.errors": (
        "AlreadyReplayedError",
        "AnswerPendingError",
        "AppUnavailableError",
        "ApplicationError",
        "ClosedError",
        "ConversationBusyError",
        "FeatureDisabledError",
        "FileTooLargeError",
        "GenerationFailedError",
        "HeldError",
        "IdempotencyKeyReusedError",
        "InvalidParameterError",
        "LedgerInconsistentError",
        "NotFoundError",
        "QuotaUsedUpError",
        "RebuildRunningError",
        "SpeechToTextDisabledError",
        "SpeechToTextUnsupportedError",
        "TooLongError",
        "TooManyRequestsError",
        "TypeMismatchError",
        "UnauthorizedError",
        "UnsupportedAudioError",
        "WrongModeError",
    ),
    "application.files.attaching": ("FileReference",),
    "application.ledger.envelope": (
        "Envelope",
        "Fact",
    ),
    "application.ledger.hand_ins": ("VersionConflictError",),
    "application.ledger.subscription": (
        "Handler",
        "SubscriptionStatus",
        "SubscriptionStoppedError",
    ),
    "application.ledger.subscriptions": ("SubscriptionProblemError",),
    "application.ports.annotations": ("AnnotationView",),
    "application.ports.dead_letters": ("DeadLetter",),
    "application.ports.erasure": (
        "Erasure",
        "Hold",
    ),
    "application.ports.generator": (
        "Exchange",
        "FileMade",
        "Finish",
        "GenerationRequest",
        "Generator",
        "GeneratorError",
        "Part",
        "Retrieved",
        "SentFile",
        "SettingsError",
        "StepBegan",
        "StepEnded",
        "Text",
        "TokenCount",
        "ToolCall",
        "ToolsReturned",
    ),
    "application.ports.keys": ("KeyDestroyedError",),
    "application.ports.read_models": ("ComparedTable",),
    "application.ports.storage": (
        "CommitInDoubtError",
        "SchemaError",
        "StorageUnavailableError",
        "StoreBusyError",
    ),
    "application.ports.text_model": (
        "OffersTextModel",
        "TextModel",
        "TextRequest",
    ),
    "application.ports.notary": ("SignedCheckpoint",),
    "application.ports.tracking": ("ParkedStream",),
    "application.ports.views": (
        "AppView",
        "ConversationView",
        "EndUserDetail",
        "FeedbackView",
        "FileView",
        "MessageView",
        "OperatorDetail",
        "OperatorView",
        "VariableView",
    ),
    "application.ports.webhooks": (
        "Endpoint",
        "Undelivered",
    ),
    "application.queries.dead_letters": (
        "DeadLetterDetail",
        "PastAttempt",
    ),
    "application.queries.feed": (
        "FeedEvent",
        "FeedPage",
    ),
    "application.queries.history": (
        "MessageDetail",
        "Task",
    ),
    "domain.configuration": (
        "AnnotationReply",
        "AppConfiguration",
        "DeclaredVariable",
        "EmojiIcon",
        "FileUpload",
        "Limits",
        "ModerationOfStage",
        "Prices",
        "Site",
        "Switch",
        "TextToSpeech",
        "WordAvoidance",
    ),
    "domain.events": (
        "AgentThoughtRecorded",
        "AnnotationMatched",
        "AnswerChunkAppended",
        "AnswerReplaced",
        "FeedbackGiven",
        "FeedbackWithdrawn",
        "FileAttached",
        "GenerationRequeued",
        "GenerationStarted",
        "MessageCompleted",
        "MessageCreated",
        "MessageErrored",
        "MessageStopped",
        "ModerationHit",
        "ResourcesRetrieved",
        "StopRequested",
    ),
    "domain.inputs": ("InputVariable",),
    "domain.values": (
        "Account",
        "AttachedFile",
        "Resource",
        "Thought",
        "Usage",
    ),
    "embedding.chatledger": ("Chatledger",),
    "embedding.values": (
        "SentMessage",
        "Slice",
        "Visitor",
    ),
    "settings": (
        "Settings",
        "SettingsProblemError",
    ),
}
_HOME_OF = {name: f"{__name__}.{home}" for home, names in _HOMES.items() for name in names}


def __getattr__(name: str) -> Any:
    home = _HOME_OF.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(home), name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOME_OF})
