"""What every translator of the registry has to keep; a new method's file is picked up by itself.

A method's settings offer `tiny()`: a small, complete configuration with every loss term switched on.
"""

from __future__ import annotations

import io
import subprocess
import sys
from typing import Any

import pytest
import torch

from tests.contracts.small_translators import CLASSES, SIZE, build, make_batch, small_guide, stirred, turn
from uda.core import registry
from uda.core.errors import DataError
from uda.data.batch import Batch, Context
from uda.nets.segmenter import SegmenterNetwork
from uda.translators.base import AVERAGED, AbstractTranslator, TranslatorConfigBase

NAMES = registry.names("translators")


@pytest.fixture
def guide() -> SegmenterNetwork:
    return small_guide()


def set_mode(translator: AbstractTranslator, *, train: bool) -> None:
    for network in translator.networks.values():
        network.train(train)


def train_step(translator: AbstractTranslator, batch: Batch) -> dict[str, torch.Tensor]:
    context, terms = Context(images_seen=0, total_images=100), dict[str, torch.Tensor]()
    set_mode(translator, train=True)
    for player, parameters in translator.players().items():
        terms |= turn(translator, player, batch, context)
        with torch.no_grad():
            for parameter in parameters:
                if parameter.grad is not None:
                    parameter.sub_(1e-3 * parameter.grad.sign())
    translator.after_step(context)
    return terms


def render(translator: AbstractTranslator, batch: Batch, seed: int = 3, **more: Any) -> Any:
    set_mode(translator, train=False)
    with torch.no_grad():
        return translator.translate(batch, generator=torch.Generator().manual_seed(seed), **more)


@pytest.mark.parametrize("name", NAMES)
def test_size_and_range_are_kept_in_every_direction(name: str, guide: SegmenterNetwork) -> None:
    translator, batch = build(name, guide), make_batch()
    assert "source_to_target" in translator.directions
    assert SIZE % translator.multiple_of(translator.config) == 0
    for direction in translator.directions:
        made = render(translator, batch, direction=direction)
        assert made.images_BCHW.shape == (2, 3, SIZE, SIZE)
        assert made.images_BCHW.dtype == torch.float32
        assert made.images_BCHW.abs().max() <= 1
        if direction == "target_to_target":  # from what it sees in the images alone
            assert made.labels_BHW.shape == (2, SIZE, SIZE)
            assert set(made.labels_BHW.unique().tolist()) <= set(range(CLASSES))
            alone = render(translator, Batch(target_images_BCHW=batch.target_images_BCHW), direction=direction)
            assert torch.equal(made.images_BCHW, alone.images_BCHW)
            assert torch.equal(made.labels_BHW, alone.labels_BHW)
            continue
        wanted = batch.source_labels_BHW if direction == "source_to_target" else batch.target_labels_BHW
        assert wanted is not None
        assert made.labels_BHW is None or torch.equal(made.labels_BHW, wanted)


@pytest.mark.parametrize("name", NAMES)
def test_a_guide_is_asked_when_it_is_said_to_be(name: str, guide: SegmenterNetwork) -> None:
    asked = 0

    def counting(images: torch.Tensor) -> torch.Tensor:
        nonlocal asked
        asked += 1
        answered: torch.Tensor = guide(images)
        return answered

    translator, batch = build(name, counting), make_batch()
    render(translator, batch)
    assert (asked > 0) == translator.renders_guided(translator.config)
    asked = 0
    train_step(translator, batch)
    assert (asked > 0) == translator.requires_guide(translator.config)


@pytest.mark.parametrize("name", NAMES)
def test_terms_match_the_weights(name: str, guide: SegmenterNetwork) -> None:
    translator = build(name, guide)
    weights = translator.config.term_weights
    assert all(weight > 0 for weight in weights.values()), "tiny() must switch every term on"
    terms = train_step(translator, make_batch())
    assert set(terms) == set(weights)
    assert all(term.dim() == 0 and torch.isfinite(term) for term in terms.values())
    assert set(translator.players()) <= set(translator.config.optimizers)


@pytest.mark.parametrize("name", NAMES)
def test_gradients_reach_the_player_in_turn_and_no_other(name: str, guide: SegmenterNetwork) -> None:
    translator, batch = build(name, guide), make_batch()
    context = Context(images_seen=0, total_images=100)
    set_mode(translator, train=True)
    everything = {p for parameters in translator.players().values() for p in parameters}
    assert everything <= {p for network in translator.networks.values() for p in network.parameters()}
    for player, parameters in translator.players().items():
        turn(translator, player, batch, context)
        touched = {p for p in everything if p.grad is not None and p.grad.abs().sum() > 0}
        assert touched
        assert touched <= set(parameters)


@pytest.mark.parametrize("name", NAMES)
def test_every_weight_of_a_player_learns_in_its_turn(name: str, guide: SegmenterNetwork) -> None:
    """Off their first values, which may be zeros; biases before a norm have no say, and are left out."""
    translator, batch, context = build(name, guide), make_batch(), Context(images_seen=0, total_images=100)
    generator = torch.Generator().manual_seed(1)
    for network in translator.networks.values():
        stirred(network, generator)
    set_mode(translator, train=True)
    for player, parameters in translator.players().items():
        torch.manual_seed(2)
        turn(translator, player, batch, context)
        still = [p.shape for p in parameters if p.dim() > 1 and (p.grad is None or not p.grad.any())]
        assert not still, f"{player}: {still}"


def test_who_owns_no_network_is_no_player() -> None:
    class Recolour(AbstractTranslator):
        Config = TranslatorConfigBase
        needs = "unpaired"

        def __init__(self, config: Any, setting: Any) -> None:
            self.config, self.networks = config, {"generator": torch.nn.Conv2d(3, 3, 1)}

        def losses(self, player: str, batch: Batch, context: Context) -> dict[str, torch.Tensor]:
            raise NotImplementedError

        def translate(self, batch: Batch, **_: Any) -> Any:
            raise NotImplementedError

    assert set(Recolour(None, None).players()) == {"generator"}


@pytest.mark.parametrize("name", NAMES)
def test_the_players_share_out_all_networks_but_averaged_copies(name: str, guide: SegmenterNetwork) -> None:
    translator = build(name, guide)
    owned = [id(p) for parameters in translator.players().values() for p in parameters]
    trained = [net for key, net in translator.networks.items() if not key.startswith(AVERAGED)]
    assert len(owned) == len(set(owned))
    assert set(owned) == {id(p) for network in trained for p in network.parameters()}
    assert all(translator.players().values())
    assert next(iter(translator.players()), "generator") == "generator"  # it leaves its fakes for the others


AVERAGING = [name for name in NAMES if "ema" in registry.load("translators", name).Config.model_fields]


@pytest.mark.parametrize("name", AVERAGING)
def test_averaged_copies_are_a_plain_mean_first_and_then_lag_behind(name: str, guide: SegmenterNetwork) -> None:
    translator, wanted = build(name, guide, ema=0.6), 0.0
    averaged = [key for key in translator.networks if key.startswith(AVERAGED)]
    assert averaged
    for step in range(4):
        decay = min(0.6, 1 - 1 / (step + 1))
        wanted = decay * wanted + (1 - decay) * 2.0**step
        for key in averaged:
            with torch.no_grad():
                next(translator.networks[key.removeprefix(AVERAGED)].parameters()).fill_(2.0**step)
        translator.after_step(Context(images_seen=2 * step, total_images=100))
        for key in averaged:
            kept = next(translator.networks[key].parameters())
            torch.testing.assert_close(kept, torch.full_like(kept, wanted))


@pytest.mark.parametrize("name", NAMES)
def test_each_turn_can_stand_alone(name: str, guide: SegmenterNetwork) -> None:
    translator = build(name, guide)
    set_mode(translator, train=True)
    for player in translator.players():
        terms = turn(translator, player, make_batch(), Context(images_seen=0, total_images=100))
        assert all(torch.isfinite(term) for term in terms.values())


@pytest.mark.parametrize("name", NAMES)
def test_the_guide_stays_as_it_was(name: str, guide: SegmenterNetwork) -> None:
    before = {key: value.clone() for key, value in guide.state_dict().items()}
    translator = build(name, guide)
    train_step(translator, make_batch())
    render(translator, make_batch())
    assert all(torch.equal(before[key], value) for key, value in guide.state_dict().items())
    assert all(p.grad is None and not p.requires_grad for p in guide.parameters())
    assert not guide.training
    inside = {id(p) for network in translator.networks.values() for p in network.parameters()}
    assert not inside & {id(p) for p in guide.parameters()}


@pytest.mark.parametrize("name", NAMES)
def test_state_makes_the_round_trip(name: str, guide: SegmenterNetwork) -> None:
    trained, batch = build(name, guide), make_batch()
    if trained.players():
        train_step(trained, batch)
    buffer = io.BytesIO()
    networks = {key: network.state_dict() for key, network in trained.networks.items()}
    torch.save({"networks": networks, "extra": trained.extra_state()}, buffer)
    buffer.seek(0)
    state = torch.load(buffer, weights_only=True)
    restored = build(name, guide, seed=1)
    for key, network in restored.networks.items():
        network.load_state_dict(state["networks"][key])
    restored.load_extra_state(state["extra"])
    assert torch.equal(render(trained, batch).images_BCHW, render(restored, batch).images_BCHW)
    if trained.players():
        # Two runs that go on from one state stay together: counters and buffers were restored too.
        after = []
        for translator in (trained, restored):
            torch.manual_seed(5)
            train_step(translator, batch)
            after.append(render(translator, batch).images_BCHW)
        assert torch.equal(*after)


@pytest.mark.parametrize("name", NAMES)
def test_translation_is_random_only_through_the_generator(name: str, guide: SegmenterNetwork) -> None:
    translator, batch = build(name, guide), make_batch()
    torch.manual_seed(0)
    one = render(translator, batch, seed=3)
    state = torch.get_rng_state()
    two = render(translator, batch, seed=3)
    assert torch.equal(one.images_BCHW, two.images_BCHW)
    assert torch.equal(state, torch.get_rng_state())


@pytest.mark.parametrize("name", NAMES)
def test_renders_of_one_input_differ_where_it_says_so(name: str, guide: SegmenterNetwork) -> None:
    translator, batch = build(name, guide), make_batch()
    other = make_batch(seed=1)
    again = Batch(batch.source_images_BCHW, batch.source_labels_BHW, other.target_images_BCHW, batch.target_labels_BHW)
    made = [render(translator, one, seed=seed).images_BCHW for one, seed in ((batch, 3), (again, 4))]
    assert torch.equal(*made) != translator.varies(translator.config)


@pytest.mark.parametrize("name", NAMES)
def test_rendering_needs_images_of_the_other_domain_where_it_says_so(name: str, guide: SegmenterNetwork) -> None:
    translator, batch = build(name, guide), make_batch()
    alone = Batch(batch.source_images_BCHW, batch.source_labels_BHW)
    if translator.takes_references(translator.config):
        with pytest.raises(DataError, match="no target images"):
            render(translator, alone)
    else:
        assert torch.equal(render(translator, alone).images_BCHW, render(translator, batch).images_BCHW)


@pytest.mark.parametrize("name", NAMES)
def test_it_runs_in_bfloat16_autocast(name: str, guide: SegmenterNetwork) -> None:
    translator, batch = build(name, guide), make_batch()
    exact = render(translator, batch).images_BCHW
    with torch.autocast("cpu", torch.bfloat16):
        rough = render(translator, batch).images_BCHW
    assert rough.dtype == torch.float32
    assert (exact - rough).abs().mean() < 0.1
    set_mode(translator, train=True)
    context = Context(images_seen=0, total_images=100)
    for player in translator.players():
        with torch.autocast("cpu", torch.bfloat16):
            terms = translator.losses(player, batch, context)
        assert all(torch.isfinite(term) for term in terms.values())


@pytest.mark.parametrize("name", NAMES)
def test_swapped_guidance_keeps_the_size(name: str, guide: SegmenterNetwork) -> None:
    translator = build(name, guide)
    set_mode(translator, train=False)
    swapped = translator.swap_guidance(make_batch())
    assert swapped is None or swapped.images_BCHW.shape == (2, 3, SIZE, SIZE)


def test_every_method_and_its_settings_load_without_torch() -> None:
    code = (
        "import sys; sys.modules['torch'] = None\n"
        "from uda.core import registry\n"
        "for name in registry.names('translators'):\n"
        "    cls = registry.load('translators', name)\n"
        "    config = cls.Config.tiny()\n"
        "    assert config.name == name == cls.Config(name=name).name, name\n"
        "    assert registry.summary('translators', name), name\n"
        "    print(name)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == NAMES
