import pytest

from chatledger.domain.configuration import ModerationOfStage, WordAvoidance

ON, OFF = ModerationOfStage(enabled=True, preset_response="No."), ModerationOfStage()


def test_each_stage_has_settings_of_its_own():
    avoidance = WordAvoidance(inputs_config=ON, outputs_config=OFF)
    assert (avoidance.at("input"), avoidance.at("output")) == (ON, OFF)


@pytest.mark.parametrize(
    ("avoidance", "stages"),
    [
        (WordAvoidance(enabled=True, inputs_config=ON, outputs_config=ON), ["input", "output"]),
        (WordAvoidance(enabled=True, inputs_config=ON), ["input"]),
        (WordAvoidance(enabled=True, outputs_config=ON), ["output"]),
        (WordAvoidance(enabled=False, inputs_config=ON, outputs_config=ON), []),
        (WordAvoidance(), []),
    ],
)
def test_a_stage_is_judged_where_it_is_on_and_all_of_it_is(avoidance, stages):
    assert [stage for stage in ("input", "output") if avoidance.applies_to(stage)] == stages
