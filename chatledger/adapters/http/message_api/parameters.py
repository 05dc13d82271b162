"""What a client needs to know of an app to draw its form and its features."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal, get_args

import msgspec

from chatledger.application.files.limits import FileLimits
from chatledger.domain import configuration
from chatledger.domain.configuration import AppConfiguration
from chatledger.domain.inputs import InputType, InputVariable
from chatledger.domain.values import FileKind


class Enabled(msgspec.Struct, frozen=True):
    """Whether a feature is on."""

    enabled: bool


class TextToSpeech(msgspec.Struct, frozen=True, kw_only=True, rename={"auto_play": "autoPlay"}):
    """Whether answers are spoken, and how."""

    enabled: bool
    voice: str
    language: str
    auto_play: Literal["enabled", "disabled"]


class WordAvoidance(msgspec.Struct, frozen=True):
    """Whether words are filtered. Which ones, ``configs`` does not tell those who might want to get past."""

    enabled: bool
    type: str
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


class FormVariable(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A variable of the form. What its type does not have is left out."""

    label: str
    variable: str
    required: bool
    default: Any
    hide: bool = False
    description: str = ""
    max_length: int | None = None
    options: Sequence[str] = ()
    allowed_file_types: Sequence[FileKind] = ()
    allowed_file_extensions: Sequence[str] = ()
    allowed_file_upload_methods: Sequence[str] = ()


class AppParameters(msgspec.Struct, frozen=True, kw_only=True):
    """What a client needs to know to draw the app's form and features. Each variable stands alone under its type."""

    opening_statement: str
    suggested_questions: Sequence[str]
    suggested_questions_after_answer: Enabled
    speech_to_text: Enabled
    text_to_speech: TextToSpeech
    retriever_resource: Enabled
    annotation_reply: Enabled
    more_like_this: Enabled
    user_input_form: Sequence[Mapping[InputType, FormVariable]]
    sensitive_word_avoidance: WordAvoidance
    file_upload: FileUpload
    system_parameters: SystemParameters


def app_parameters(configured: AppConfiguration, limits: FileLimits) -> AppParameters:
    """What an app shows of its configuration."""
    speech, avoidance = configured.text_to_speech, configured.sensitive_word_avoidance
    return AppParameters(
        opening_statement=configured.opening_statement,
        suggested_questions=configured.suggested_questions,
        suggested_questions_after_answer=Enabled(configured.suggested_questions_after_answer.enabled),
        speech_to_text=Enabled(configured.speech_to_text.enabled),
        text_to_speech=TextToSpeech(
            enabled=speech.enabled,
            voice=speech.voice,
            language=speech.language,
            auto_play="enabled" if speech.auto_play else "disabled",
        ),
        retriever_resource=Enabled(configured.retriever_resource),
        annotation_reply=Enabled(configured.annotation_reply.enabled),
        more_like_this=Enabled(configured.more_like_this.enabled),
        user_input_form=[{variable.type: _form_variable(variable)} for variable in configured.user_input_form],
        sensitive_word_avoidance=WordAvoidance(avoidance.enabled, avoidance.type if avoidance.enabled else ""),
        file_upload=_file_upload(configured.file_upload),
        system_parameters=SystemParameters(
            file_size_limit=limits.other,
            image_file_size_limit=limits.image,
            audio_file_size_limit=limits.audio,
            video_file_size_limit=limits.video,
        ),
    )


def _form_variable(variable: InputVariable) -> FormVariable:
    has_text = variable.type in {"text-input", "paragraph", "select", "number", "checkbox"}
    return FormVariable(
        label=variable.label or variable.variable,
        variable=variable.variable,
        required=variable.required,
        default="" if has_text and variable.default is None else variable.default,
        hide=variable.hide,
        description=variable.description,
        max_length=variable.max_length,
        options=variable.options,
        allowed_file_types=variable.allowed_file_types,
        allowed_file_extensions=variable.allowed_file_extensions,
        allowed_file_upload_methods=variable.allowed_file_upload_methods,
    )


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
