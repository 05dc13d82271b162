"""What apps can switch on, as far as this server can do it."""

from collections.abc import Mapping

import msgspec

from chatledger.application.errors import InvalidParameterError
from chatledger.application.ports.embedder import Embedder
from chatledger.application.ports.generator import SettingsError
from chatledger.application.ports.moderator import Moderator
from chatledger.application.ports.speech import SpeechToText, TextToSpeech
from chatledger.domain.configuration import AnnotationReply, AppConfiguration, ModerationOfStage, WordAvoidance

EMBEDDING_PROVIDERS = ("", "openai", "openai_compatible", "openai_api_compatible")
"""The last part of what clients may call the server's provider, which is the one that there is."""


class Features(msgspec.Struct, frozen=True):
    """What is there to moderate, to compare questions, to hear and to speak."""

    moderators: Mapping[str, Moderator]
    embedder: Embedder
    speech_to_text: SpeechToText
    text_to_speech: TextToSpeech

    def check(self, configuration: AppConfiguration) -> None:
        """Refuse what would be switched on and have no effect.

        Raises:
            InvalidParameterError: the part of the configuration, and the reason.
        """
        self._check_avoidance(configuration.sensitive_word_avoidance)
        try:
            self.check_annotation_reply(configuration.annotation_reply)
        except InvalidParameterError as error:
            raise InvalidParameterError(f"annotation_reply.{error.field}", f"annotation_reply.{error}") from error
        if configuration.speech_to_text.enabled and not self.speech_to_text.is_available:
            raise InvalidParameterError("speech_to_text", "speech_to_text: the server has no provider for it")
        speech = configuration.text_to_speech
        if speech.enabled and not self.text_to_speech.is_available:
            raise InvalidParameterError("text_to_speech", "text_to_speech: the server has no provider for it")
        if speech.auto_play and not speech.enabled:
            raise InvalidParameterError("text_to_speech.auto_play", "text_to_speech.auto_play: it is not enabled")

    def _check_avoidance(self, avoidance: WordAvoidance) -> None:
        if not avoidance.enabled:
            return
        moderator = self.moderators.get(avoidance.type)
        if moderator is None:
            known = ", ".join(sorted(self.moderators))
            raise _wrong_avoidance(f"type: no moderator named {avoidance.type!r}; there are {known}")
        if not (avoidance.inputs_config.enabled or avoidance.outputs_config.enabled):
            raise _wrong_avoidance("enabled: neither inputs_config nor outputs_config is")
        _check_stage("inputs_config", avoidance.inputs_config)
        _check_stage("outputs_config", avoidance.outputs_config)
        try:
            moderator.check_settings(avoidance)
        except SettingsError as error:
            raise _wrong_avoidance(str(error)) from error

    def check_annotation_reply(self, reply: AnnotationReply) -> None:
        """Refuse a threshold that nothing reaches or that everything does, and embeddings that nobody makes.

        Raises:
            InvalidParameterError: the setting, and the reason.
        """
        if not 0 <= reply.score_threshold <= 1:
            raise InvalidParameterError("score_threshold", "score_threshold must be between 0 and 1")
        if reply.embedding_provider_name.rpartition("/")[2] not in EMBEDDING_PROVIDERS:
            known = ", ".join(EMBEDDING_PROVIDERS[1:])
            field = "embedding_provider_name"
            raise InvalidParameterError(field, f"{field} must be one of: {known}")
        if reply.enabled and reply.embedding_model_name and not self.embedder.is_available:
            field = "embedding_model_name"
            raise InvalidParameterError(field, f"{field}: the server has no provider of embeddings")


def _check_stage(name: str, stage: ModerationOfStage) -> None:
    if stage.enabled and stage.action == "direct_output" and not stage.preset_response.strip():
        raise _wrong_avoidance(f"{name}.preset_response: must not be empty")


def _wrong_avoidance(reason: str) -> InvalidParameterError:
    """``reason`` begins with the name of what is wrong."""
    field = f"sensitive_word_avoidance.{reason.partition(':')[0]}"
    return InvalidParameterError(field, f"sensitive_word_avoidance.{reason}")
