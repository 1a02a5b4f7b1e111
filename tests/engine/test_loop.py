from __future__ import annotations

import itertools
import json
import math
import os
import shutil
import signal
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from tests.engine.players import Game, cpu, plan, play
from uda.core.errors import ConfigError, RunError
from uda.core.rundir import CHECKPOINT
from uda.core.training import OptimizerConfig, ParameterGroup, ScheduleConfig
from uda.data.batch import Batch, Context
from uda.engine import loop


def equal(one: Mapping[str, Tensor], other: Mapping[str, Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def trained(folder: Path, **changes: Any) -> dict[str, Tensor]:
    game = Game()
    play(game, folder / "out", plan(**changes))
    return game.weights()


def test_all_players_learn(tmp_path: Path) -> None:
    before, after = Game().weights(), trained(tmp_path)
    assert all(not torch.equal(before[name], after[name]) for name in before)


def test_each_player_moves_only_its_own_parameters_and_in_order(tmp_path: Path) -> None:
    turns: list[tuple[str, dict[str, Tensor]]] = []

    def at(player: str, context: Context) -> None:
        for name, network in game.networks.items():
            assert all(p.requires_grad == (name == player) for p in network.parameters())
        turns.append((player, game.weights()))

    game = Game(at=at)
    play(game, tmp_path / "out")
    turns.append(("end", game.weights()))
    assert [player for player, _ in turns[:-1]] == ["maker", "judge"] * 12
    for (player, before), (_, after) in itertools.pairwise(turns):
        moved = {name.split(".")[0] for name in before if not torch.equal(before[name], after[name])}
        assert moved == {player}
    assert all(p.requires_grad for network in game.networks.values() for p in network.parameters())


def test_a_run_is_a_function_of_its_seed(tmp_path: Path) -> None:
    one, again, other = (trained(tmp_path / name, seed=seed) for name, seed in (("a", 5), ("b", 5), ("c", 6)))
    assert equal(one, again)
    assert not equal(one, other)


@pytest.mark.parametrize("stop_at", [0, 6, 10, 20])
def test_an_interrupted_run_gives_the_same_weights_bit_for_bit(tmp_path: Path, stop_at: int) -> None:
    def interrupt(player: str, context: Context) -> None:
        if context.images_seen == stop_at and player == "maker":
            os.kill(os.getpid(), signal.SIGINT)

    whole = Game()
    play(whole, tmp_path / "whole")
    with pytest.raises(loop.Interrupted, match=rf"stopped at {stop_at + 2} of 24 images"):
        play(Game(at=interrupt), tmp_path / "out")

    first: list[int] = []
    resumed = Game(at=lambda _, context: first.append(context.images_seen))
    play(resumed, tmp_path / "out")
    assert first[0] == stop_at + 2
    assert equal(resumed.weights(), whole.weights())
    assert torch.equal(resumed.kept, whole.kept)
    assert resumed.steps == whole.steps == 12


def test_optimiser_state_is_part_of_what_is_gone_on_with(tmp_path: Path) -> None:
    # Were Adam's moments lost, the weights after resuming would differ: this shows that the test above can fail.
    def interrupt(player: str, context: Context) -> None:
        if context.images_seen == 10 and player == "maker":
            os.kill(os.getpid(), signal.SIGTERM)

    whole = trained(tmp_path / "whole")
    with pytest.raises(loop.Interrupted):
        play(Game(at=interrupt), tmp_path / "out")
    file = tmp_path / "out.partial" / CHECKPOINT
    state = torch.load(file, weights_only=True)
    for moments in state["optimizers"]["maker"]["state"].values():
        moments["exp_avg"].zero_()
    torch.save(state, file)
    resumed = Game()
    play(resumed, tmp_path / "out")
    assert not equal(resumed.weights(), whole)


def test_a_killed_run_goes_on_from_its_last_checkpoint(tmp_path: Path) -> None:
    def crash(player: str, context: Context) -> None:
        if context.images_seen == 14 and player == "judge":
            raise RuntimeError("power cut")

    with pytest.raises(RuntimeError, match="power cut"):
        play(Game(at=crash), tmp_path / "out", runtime=cpu(checkpoint_seconds=0))
    seen: list[int] = []
    resumed = Game(at=lambda _, context: seen.append(context.images_seen))
    play(resumed, tmp_path / "out")
    assert seen[0] == 14
    assert equal(resumed.weights(), trained(tmp_path / "whole"))


def test_without_a_checkpoint_a_run_starts_at_its_beginning(tmp_path: Path) -> None:
    def crash(player: str, context: Context) -> None:
        if context.images_seen == 4:
            raise RuntimeError("power cut")

    with pytest.raises(RuntimeError):
        play(Game(at=crash), tmp_path / "out")
    assert not (tmp_path / "out.partial" / CHECKPOINT).exists()
    resumed = Game()
    play(resumed, tmp_path / "out")
    assert equal(resumed.weights(), trained(tmp_path / "whole"))


def test_a_checkpoint_is_replaced_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    true_save, written = torch.save, []

    def save(state: Any, path: Path) -> None:
        true_save(state, path)
        written.append(path)
        if len(written) == 3:
            path.write_bytes(b"half")
            raise OSError(28, "No space left on device")

    monkeypatch.setattr(torch, "save", save)
    with pytest.raises(OSError, match="No space"):
        play(Game(), tmp_path / "out", runtime=cpu(checkpoint_seconds=0))
    assert torch.load(tmp_path / "out.partial" / CHECKPOINT, weights_only=True)["images_seen"] == 4


def test_a_second_interruption_ends_at_once(tmp_path: Path) -> None:
    def insist(player: str, context: Context) -> None:
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(KeyboardInterrupt) as caught:
        play(Game(at=insist), tmp_path / "out")
    assert not isinstance(caught.value, loop.Interrupted)


def test_a_system_that_tells_every_process_is_not_a_person_who_asks_twice(tmp_path: Path) -> None:
    def stop(player: str, context: Context) -> None:
        os.kill(os.getpid(), signal.SIGTERM)
        os.kill(os.getpid(), signal.SIGTERM)

    with pytest.raises(loop.Interrupted, match="stopped at 2 of"):
        play(Game(at=stop), tmp_path / "out")
    assert (tmp_path / "out.partial" / CHECKPOINT).is_file()


def test_signal_handlers_are_given_back(tmp_path: Path) -> None:
    before = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
    trained(tmp_path)
    assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == before


def test_stopped_in_its_last_step_a_fit_ends_there_and_is_not_done_again(tmp_path: Path) -> None:
    def interrupt(player: str, context: Context) -> None:
        if context.images_seen == 22 and player == "judge":
            os.kill(os.getpid(), signal.SIGINT)

    whole = Game()
    wanted = play(whole, tmp_path / "whole")
    with pytest.raises(loop.Interrupted, match="stopped at 24 of 24 images"):
        play(Game(at=interrupt), tmp_path / "out")
    turns: list[str] = []
    resumed = Game(at=lambda player, _: turns.append(player))
    found = play(resumed, tmp_path / "out")
    assert not turns and equal(resumed.weights(), whole.weights())
    assert found.keys() == wanted.keys() and found["images_per_second"] > 0
    assert {key: found[key] for key in wanted if key != "images_per_second"} == {
        key: value for key, value in wanted.items() if key != "images_per_second"
    }


@pytest.mark.parametrize("term", ["keep", "judge"])
@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_divergence_is_told_with_its_term_and_how_to_mend_it(tmp_path: Path, term: str, value: float) -> None:
    game = _Broken(term, value, since=8)
    with pytest.raises(RunError, match=rf"game: diverged: {term} is (nan|inf) at image 8; lower the learning rate"):
        play(game, tmp_path / "out")


def test_no_checkpoint_is_written_of_diverged_weights(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="keep is nan at image 8"):
        play(_Broken("keep", math.nan, since=8), tmp_path / "out", runtime=cpu(checkpoint_seconds=0))
    state = torch.load(tmp_path / "out.partial" / CHECKPOINT, weights_only=True)
    assert state["images_seen"] == 8
    assert all(bool(weights.isfinite().all()) for weights in state["networks"]["maker"].values())


@pytest.mark.parametrize("since", [8, 22])
def test_weights_that_a_finite_loss_has_broken_are_neither_saved_nor_kept(tmp_path: Path, since: int) -> None:
    class Steep(_Broken):
        def losses(self, player: str, batch: Batch, context: Context) -> dict[str, Tensor]:
            terms = self._game.losses(player, batch, context)
            if context.images_seen >= self._since and player == "maker":
                weight = next(self._game.maker.parameters())
                terms["keep"] = terms["keep"] + (0 * weight.sum()).sqrt()  # 0, and its gradient 0 times infinity
            return terms

    told = rf"game: diverged: weights of maker are not finite after image {since + 1}; lower the learning rate"
    with pytest.raises(RunError, match=told):
        play(Steep("keep", 1.0, since), tmp_path / "out", runtime=cpu(checkpoint_seconds=0 if since == 8 else 600))
    if since == 8:
        state = torch.load(tmp_path / "out.partial" / CHECKPOINT, weights_only=True)
        assert state["images_seen"] == 8


def test_players_without_optimizer_and_terms_without_weight_are_told(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="game: no optimizer for player 'judge'; name it in the settings' optimizers"):
        play(Game(), tmp_path / "one", plan(optimizers={"maker": OptimizerConfig()}))
    with pytest.raises(ConfigError, match="game: term 'keep' has no weight; name it in the settings' weights"):
        play(Game(), tmp_path / "two", plan(weights={"fool": 1.0, "judge": 1.0}))


def test_without_any_weight_there_is_nothing_to_learn(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="game: all weights are 0: nothing would be learnt; give a term a weight"):
        play(Game(), tmp_path / "out", plan(weights={"fool": 0.0, "keep": 0.0, "judge": 0.0}))


class _Broken:
    """The game, one term of which is not finite from an image on."""

    def __init__(self, term: str, value: float, since: int) -> None:
        self._game, self._term, self._value, self._since = Game(), term, value, since

    def __getattr__(self, name: str) -> Any:
        return getattr(self._game, name)

    def losses(self, player: str, batch: Batch, context: Context) -> dict[str, Tensor]:
        terms = self._game.losses(player, batch, context)
        if context.images_seen >= self._since and self._term in terms:
            terms[self._term] = terms[self._term] * self._value
        return terms


class _Pair(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Parameter(torch.zeros(1)), nn.Parameter(torch.zeros(1))


class Slope:
    """One parameter in each of two groups; the loss is their sum, so that every gradient is 1."""

    def __init__(self, terms: Callable[[Tensor, Tensor], dict[str, Tensor]] | None = None) -> None:
        self.net = _Pair()
        self.terms = terms or (lambda a, b: {"sum": (a + b).sum()})

    networks = property(lambda self: {"net": self.net})

    def groups(self) -> Mapping[str, Sequence[ParameterGroup]]:
        return {"only": [ParameterGroup([self.net.a]), ParameterGroup([self.net.b], lr_multiplier=10, weight_decay=0)]}

    def losses(self, player: str, batch: Batch, context: Context) -> dict[str, Tensor]:
        return self.terms(self.net.a, self.net.b)

    def after_step(self, context: Context) -> None:
        assert context.progress < 1

    def extra_state(self) -> dict[str, Any]:
        return {}

    def load_extra_state(self, state: Mapping[str, Any]) -> None:
        assert not state


def slide(folder: Path, slope: Slope, **changes: Any) -> tuple[float, float, dict[str, float]]:
    fields = {
        "images": 40,
        "batch": 4,
        "optimizers": {"only": OptimizerConfig(name="sgd", lr=0.1, momentum=0)},
        "schedule": ScheduleConfig(name="constant"),
        "weights": {"sum": 1.0},
    }
    numbers = play(slope, folder / "out", plan(**{**fields, **changes}))
    return slope.net.a.item(), slope.net.b.item(), numbers


@pytest.mark.parametrize(
    "schedule", [ScheduleConfig(), ScheduleConfig(name="linear_tail", warmup=0.2), ScheduleConfig(span=2)]
)
def test_the_learning_rate_follows_the_images_seen_times_the_groups_multiplier(
    tmp_path: Path, schedule: ScheduleConfig
) -> None:
    a, b, _ = slide(tmp_path, Slope(), schedule=schedule)
    total = sum(0.1 * schedule.factor(step * 4 / 40) for step in range(10))
    assert a == pytest.approx(-total, rel=1e-5)
    assert b == pytest.approx(-10 * total, rel=1e-5)


def test_the_last_batch_may_go_beyond_the_images_asked_for(tmp_path: Path) -> None:
    a, _, _ = slide(tmp_path, Slope(), images=38)
    assert a == pytest.approx(-0.1 * 10)


def test_terms_are_weighted_by_the_plan_and_a_weight_of_zero_switches_off(tmp_path: Path) -> None:
    def terms(a: Tensor, b: Tensor) -> dict[str, Tensor]:
        return {"one": a.sum(), "two": b.sum()}

    a, b, numbers = slide(tmp_path, Slope(terms), weights={"one": 3.0, "two": 0.0})
    assert a == pytest.approx(-0.1 * 3 * 10) and b == 0
    assert numbers["two"] == 0


def test_the_gradient_norm_is_clipped(tmp_path: Path) -> None:
    optimizer = OptimizerConfig(name="sgd", lr=0.1, momentum=0, clip_norm=0.5)
    a, b, _ = slide(tmp_path, Slope(), optimizers={"only": optimizer})
    assert a == pytest.approx(-0.1 * 0.5 / math.sqrt(2) * 10, rel=1e-4)
    assert b == pytest.approx(10 * a)


def test_a_term_without_gradient_moves_nothing(tmp_path: Path) -> None:
    a, b, numbers = slide(tmp_path, Slope(lambda a, _: {"sum": a.detach().sum() + 2}))
    assert (a, b, numbers["sum"]) == (0, 0, 2)


def test_weight_decay_is_the_groups_own_where_it_has_one(tmp_path: Path) -> None:
    slope = Slope(lambda a, b: {"sum": 0 * (a + b).sum()})
    with torch.no_grad():
        slope.net.a.fill_(1)
        slope.net.b.fill_(1)
    optimizer = OptimizerConfig(name="sgd", lr=0.1, momentum=0, weight_decay=0.5)
    a, b, _ = slide(tmp_path, slope, optimizers={"only": optimizer})
    assert a == pytest.approx((1 - 0.1 * 0.5) ** 10) and b == 1


def test_the_log_holds_unweighted_means_by_images_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loop, "_STATUS_SECONDS", 0)
    slide(tmp_path, Slope(), weights={"sum": 7.0}, images=12, schedule=ScheduleConfig(name="constant"))
    log = (tmp_path / "out.partial/log.jsonl").read_text()
    lines = [json.loads(line) for line in log.splitlines()]
    assert [line["images"] for line in lines] == [4, 8, 12]
    # Both parameters fall with slope 7: a by 0.7 and b by 7 a step.
    assert [line["sum"] for line in lines] == pytest.approx([0, -7.7, -15.4])


def test_what_fit_returns_is_the_mean_since_the_last_status_and_the_speed(tmp_path: Path) -> None:
    _, _, numbers = slide(tmp_path, Slope(), images=12)
    assert numbers["sum"] == pytest.approx((0 - 1.1 - 2.2) / 3)
    assert numbers["images_per_second"] > 0


def test_step_seeds_differ_by_seed_process_and_position() -> None:
    seeds = {loop.step_seed(seed, rank, seen) for seed in range(5) for rank in range(4) for seen in range(0, 50, 2)}
    assert len(seeds) == 5 * 4 * 25
    assert all(0 <= seed < 2**63 for seed in seeds)
    assert loop.step_seed(1, 2, 3) == loop.step_seed(1, 2, 3)
    assert loop.step_seed(1, 11, 1) != loop.step_seed(11, 1, 1)


def test_bfloat16_is_autocast_and_weights_stay_float32(tmp_path: Path) -> None:
    kinds: set[torch.dtype] = set()
    game = Game()
    game.judge.register_forward_hook(lambda *args: kinds.add(args[2].dtype))
    play(game, tmp_path / "out", runtime=cpu(precision="bfloat16"))
    assert kinds == {torch.bfloat16}
    assert all(weights.dtype == torch.float32 for weights in game.weights().values())


def test_a_checkpoint_that_does_not_fit_leaves_no_half_and_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def half(state: object, file: Path) -> None:
        file.write_bytes(b"half")
        raise RuntimeError("[enforce fail at inline_container.cc:672] . unexpected pos 704 vs 598")

    monkeypatch.setattr(torch, "save", half)
    for free, kind, told in ((0, OSError, "no space for a checkpoint"), (10**12, RuntimeError, "unexpected pos")):
        monkeypatch.setattr(shutil, "disk_usage", lambda folder, free=free: SimpleNamespace(free=free))
        with pytest.raises(kind, match=told):
            play(Game(), tmp_path / f"out_{free}", runtime=cpu(checkpoint_seconds=0))
        assert not list(tmp_path.rglob(f"{CHECKPOINT}*"))
