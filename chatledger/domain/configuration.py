"""What an operator sets about an app."""

from typing import Annotated, Any, Literal

import msgspec

from chatledger.domain.inputs import InputVariable
from chatledger.domain.values import FileKind, ModerationAction, ModerationStage, OnBusy, VariableType

MOST = 1_000_000

Count = Annotated[int, msgspec.Meta(ge=0, le=MOST)]


class Part(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A part of a configuration: what it does not know is refused by name."""


class Switch(Part, frozen=True, kw_only=True):
    """Whether a feature is on."""

    enabled: bool = False


class TextToSpeech(Part, frozen=True, kw_only=True):
    """How answers are spoken. With ``auto_play`` the sound follows each streamed answer by itself."""

    enabled: bool = False
    voice: str = ""
    language: str = ""
    auto_play: bool = False


class AnnotationReply(Part, frozen=True, kw_only=True):
    """Whether annotations answer questions that are at least ``score_threshold`` like their own (0 to 1).

    Without an embedding model only an equal question is like another.
    """

    enabled: bool = False
    score_threshold: Annotated[float, msgspec.Meta(ge=0, le=1)] = 0.9
    embedding_provider_name: str = ""
    embedding_model_name: str = ""


class ModerationOfStage(Part, frozen=True, kw_only=True):
    """What follows where a question or an answer holds what may not be said.

    Attributes:
        action: whether ``preset_response`` is answered in its place, or it goes on without what was found.
    """

    enabled: bool = False
    action: ModerationAction = "direct_output"
    preset_response: str = ""


class WordAvoidance(Part, frozen=True, kw_only=True):
    """What may not be asked or answered.

    Attributes:
        type: names the moderator, whom the rest is for.
        keywords: what the one named ``keywords`` looks for: one on each line, or a list.
        model: which one ``openai_moderation`` asks; empty for the usual one.
    """

    enabled: bool = False
    type: str = "keywords"
    keywords: str | tuple[str, ...] = ()
    model: str = ""
    inputs_config: ModerationOfStage = ModerationOfStage()
    outputs_config: ModerationOfStage = ModerationOfStage()

    def at(self, stage: ModerationStage) -> ModerationOfStage:
        """What holds for what is asked, or for what is answered."""
        return self.inputs_config if stage == "input" else self.outputs_config

    def applies_to(self, stage: ModerationStage) -> bool:
        """Whether anything is judged at this stage."""
        return self.enabled and self.at(stage).enabled


class FileUpload(Part, frozen=True, kw_only=True):
    """Which files a message may carry, and how many. Without ``kinds`` it may carry any kind.

    The size limits are megabytes, and narrow those of the server; 0 leaves them as they are.
    """

    enabled: bool = False
    kinds: tuple[FileKind, ...] = ("image",)
    number_limits: Annotated[int, msgspec.Meta(ge=1, le=MOST)] = 3
    transfer_methods: tuple[Literal["remote_url", "local_file"], ...] = ("remote_url", "local_file")
    detail: Literal["low", "high"] = "high"
    file_size_limit: Count = 0
    image_file_size_limit: Count = 0
    audio_file_size_limit: Count = 0
    video_file_size_limit: Count = 0


class DeclaredVariable(Part, frozen=True, kw_only=True):
    """A variable that each new conversation begins with."""

    name: str
    value_type: VariableType = "string"
    default: Any = None
    description: str = ""


class Prices(Part, frozen=True, kw_only=True):
    """What tokens cost: decimals, each price for as many tokens as 1 divided by its unit."""

    prompt_unit_price: str = "0"
    prompt_price_unit: str = "0.001"
    completion_unit_price: str = "0"
    completion_price_unit: str = "0.001"
    currency: str = "USD"


class Limits(Part, frozen=True, kw_only=True):
    """Bounds of one app; 0 is none.

    Attributes:
        concurrency: answers that may be under way at once.
        requests_per_minute: by each key.
        user_requests_per_minute: by each end user.
        tokens_per_day: that answers may cost in a day of UTC.
        dedupe_window: seconds within which an equal request of the same user joins the one that is still running.
        context_tokens: that earlier exchanges may have in a prompt, by estimate; the latest stay.
    """

    concurrency: Count = 0
    requests_per_minute: Count = 0
    user_requests_per_minute: Count = 0
    tokens_per_day: Annotated[int, msgspec.Meta(ge=0, le=2**53)] = 0
    dedupe_window: Annotated[float, msgspec.Meta(ge=0, le=86_400)] = 0.0
    context_tokens: Annotated[int, msgspec.Meta(ge=0, le=2**53)] = 0


class Site(Part, frozen=True, kw_only=True):
    """How the app's page presents it. An empty ``title`` stands for the app's name."""

    enabled: bool = True
    title: str = ""
    chat_color_theme: str | None = None
    chat_color_theme_inverted: bool = False
    icon_type: Literal["emoji", "image"] | None = None
    icon: str | None = None
    icon_background: str | None = None
    icon_url: str | None = None
    description: str | None = None
    copyright: str | None = None
    privacy_policy: str | None = None
    input_placeholder: str | None = None
    custom_disclaimer: str | None = None
    default_language: str = "en-US"
    show_workflow_steps: bool = False
    use_icon_as_answer_icon: bool = False


class EmojiIcon(Part, frozen=True, kw_only=True):
    """A tool's icon: a sign on a ground."""

    background: str
    content: str


class AppConfiguration(Part, frozen=True, kw_only=True):
    """What an operator sets about an app.

    Attributes:
        generator: the name of the generator that answers.
        settings: that generator's own settings, checked by it.
        opening_statement: what a new conversation shows before the first question.
        suggested_questions: what a client may offer to ask first.
        user_input_form: the variables that a message must or may carry.
        retriever_resource: whether answers show the passages that they rest on.
        on_busy: what becomes of a message to a conversation in which another is unfinished, where it does not say.
        tool_icons: from a tool's name to the address of its icon, or to a sign.
    """

    generator: str
    settings: dict[str, Any] = msgspec.field(default_factory=dict)
    description: str = ""
    tags: tuple[str, ...] = ()
    author_name: str = ""
    opening_statement: str = ""
    suggested_questions: tuple[str, ...] = ()
    user_input_form: tuple[InputVariable, ...] = ()
    retriever_resource: bool = True
    suggested_questions_after_answer: Switch = Switch()
    more_like_this: Switch = Switch()
    speech_to_text: Switch = Switch()
    text_to_speech: TextToSpeech = TextToSpeech()
    annotation_reply: AnnotationReply = AnnotationReply()
    sensitive_word_avoidance: WordAvoidance = WordAvoidance()
    file_upload: FileUpload = FileUpload()
    conversation_variables: tuple[DeclaredVariable, ...] = ()
    prices: Prices = Prices()
    limits: Limits = Limits()
    on_busy: OnBusy = "allow"
    site: Site = Site()
    tool_icons: dict[str, str | EmojiIcon] = msgspec.field(default_factory=dict)
