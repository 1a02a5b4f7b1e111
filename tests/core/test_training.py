from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from uda.core.config import Config, Layers, validate
from uda.core.errors import ConfigError
from uda.core.resources import find_yaml
from uda.core.training import OptimizerConfig, RuntimeConfig, ScheduleConfig
from uda.stages.segment import SegmentConfig

PROGRESS = [0.0, 0.1, 0.25, 0.3, 0.5, 0.75, 0.9, 1.0]


@pytest.mark.parametrize("progress", PROGRESS)
def test_each_schedule_follows_its_formula(progress: float) -> None:
    def factor(**keys: object) -> float:
        return ScheduleConfig.model_validate(keys).factor(progress)

    assert factor(name="constant") == 1
    assert factor(name="poly") == pytest.approx((1 - progress) ** 0.9)
    assert factor(name="poly", power=2) == pytest.approx((1 - progress) ** 2)
    assert factor(name="linear_tail") == pytest.approx(1 if progress <= 0.5 else 2 * (1 - progress))
    assert factor(name="linear_tail", constant=0) == pytest.approx(1 - progress)
    assert factor(name="linear_tail", constant=0.75) == pytest.approx(min(1, 4 * (1 - progress)))
    drops = {0.0: 0, 0.1: 1, 0.25: 2, 0.3: 3, 0.5: 5, 0.75: 7, 0.9: 9, 1.0: 10}
    assert factor(name="step") == 0.5 ** drops[progress]
    assert factor(name="step", step=0.25, gamma=0.1) == pytest.approx(0.1 ** int(progress / 0.25))


@pytest.mark.parametrize("progress", PROGRESS)
@pytest.mark.parametrize("name", ["constant", "poly", "linear_tail", "step"])
def test_warmup_rises_linearly_to_the_schedules_own_factor(name: str, progress: float) -> None:
    plain, warm = (ScheduleConfig.model_validate({"name": name, "warmup": part}).factor(progress) for part in (0, 0.4))
    assert warm == pytest.approx(plain * min(1, progress / 0.4))


@pytest.mark.parametrize("progress", PROGRESS)
def test_span_stops_a_longer_schedule_early(progress: float) -> None:
    # AdaptSegNet: poly over 250,000 iterations, stopped at 120,000.
    spanned = ScheduleConfig(name="poly", span=250 / 120).factor(progress)
    assert spanned == pytest.approx((1 - progress * 120 / 250) ** 0.9)
    assert ScheduleConfig(name="poly", span=250 / 120, warmup=0.5).factor(progress) == pytest.approx(
        spanned * min(1, progress / 0.5)
    )


@given(
    st.one_of(
        st.builds(ScheduleConfig, name=st.just("constant"), span=st.floats(1, 5)),
        st.builds(ScheduleConfig, name=st.just("poly"), power=st.floats(0, 3), span=st.floats(1, 5)),
        st.builds(ScheduleConfig, name=st.just("linear_tail"), constant=st.floats(0, 1), span=st.floats(1, 5)),
        st.builds(
            ScheduleConfig,
            name=st.just("step"),
            step=st.floats(0.05, 1),
            gamma=st.floats(0.1, 1),
            span=st.floats(1, 5),
        ),
    ),
    st.floats(0, 1),
    st.floats(0, 1),
)
def test_without_warmup_rates_only_fall_and_stay_in_0_to_1(schedule: ScheduleConfig, one: float, other: float) -> None:
    early, late = schedule.factor(min(one, other)), schedule.factor(max(one, other))
    assert 0 <= late <= early <= 1


@pytest.mark.parametrize(
    "wrong",
    [{"power": -1}, {"constant": 1.1}, {"step": 0}, {"gamma": 0}, {"warmup": 1}, {"span": 0.5}, {"name": "cos"}],
)
def test_senseless_settings_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        ScheduleConfig.model_validate(wrong)


@pytest.mark.parametrize(
    ("kind", "wrong", "told"),
    [
        (
            OptimizerConfig,
            {"name": "sgd", "betas": (0.1, 0.2)},
            "betas\n +does nothing with sgd, only with adam and adamw: l",
        ),
        (OptimizerConfig, {"momentum": 0.5}, "momentum\n +does nothing with adam, only with sgd: leave"),
        (ScheduleConfig, {"gamma": 0.3}, "gamma\n +does nothing with poly, only with step: leave it out"),
        (ScheduleConfig, {"name": "constant", "power": 2}, "power\n +does nothing with constant"),
        (ScheduleConfig, {"name": "step", "constant": 0.25}, "constant\n +does nothing with step"),
    ],
)
def test_settings_of_another_kind_are_refused(kind: type[Config], wrong: dict[str, object], told: str) -> None:
    with pytest.raises(ValidationError, match=told):
        kind.model_validate(wrong)


def test_who_set_what_does_nothing_is_told() -> None:
    layers = Layers().add_file(find_yaml("configs", "segment/minicity"))
    with pytest.raises(ConfigError, match=r"^--set schedule.gamma=0.2: schedule.gamma: does nothing with poly, only"):
        validate(SegmentConfig, layers.add_assignments(["schedule.gamma=0.2"]))


def test_all_that_is_resolved_can_be_read_again_and_the_kind_be_changed() -> None:
    for config in (OptimizerConfig(), OptimizerConfig(name="adamw"), OptimizerConfig(name="sgd")):
        assert OptimizerConfig.model_validate(config.model_dump()) == config
    layers = Layers().add_file(find_yaml("configs", "segment/minicity")).add_assignments(["optimizer.name=sgd"])
    assert validate(SegmentConfig, layers).optimizer == SegmentConfig.model_fields["optimizer"].default


@pytest.mark.parametrize("device", ["auto", "cpu", "cuda", "cuda:0", "cuda:11"])
def test_known_devices_are_taken(device: str) -> None:
    assert RuntimeConfig(device=device).device == device


@pytest.mark.parametrize("device", ["gpu", "cuda:", "cuda:x", "cpu:0", "auto:1", "CUDA", ""])
def test_other_devices_are_refused(device: str) -> None:
    with pytest.raises(ValidationError, match="is no device, use auto, cpu, cuda or cuda:N"):
        RuntimeConfig(device=device)


@pytest.mark.parametrize(("images", "overlay"), [(120_000, ()), (80_000, ("overlays/source_only",))])
@pytest.mark.parametrize("recipe", ["deeplabv2", "fcn8s"])
def test_the_papers_schedules_are_of_250000_iterations_however_early_they_stop(
    recipe: str, images: int, overlay: tuple[str, ...]
) -> None:
    files = [find_yaml("configs", name) for name in (f"segment/{recipe}", *overlay)]
    config = validate(SegmentConfig, Layers().add_files(files))
    assert config.fit.images == images
    for seen in (0, 49_900, 50_100, 79_999):
        whole = (1 - seen / 250_000) ** 0.9 if recipe == "deeplabv2" else 0.1 ** (seen // 50_000)
        assert config.schedule.factor(seen / images) == pytest.approx(whole, rel=1e-6)
