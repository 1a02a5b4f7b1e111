"""The training loop, for translators and segmenters alike: GAN alternation is data.

Progress counts images. All randomness of a step is a function of (seed, rank, images seen), so a resumed run gives the
same weights as an uninterrupted one, bit for bit on a CPU: to resume, run the same command again.
"""

from __future__ import annotations

import errno
import hashlib
import math
import shutil
import signal
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from uda.core.console import Console
from uda.core.errors import ConfigError, RunError
from uda.core.rundir import CHECKPOINT, RunDirectory
from uda.core.training import OptimizerConfig, ParameterGroup, ScheduleConfig
from uda.data.batch import Batch, Context
from uda.engine.runtime import Runtime
from uda.engine.schedules import make_optimizer, set_rate
from uda.engine.tracking import Tracker


class Trainable(Protocol):
    """What the loop can fit."""

    @property
    def networks(self) -> Mapping[str, nn.Module]:
        """All networks with state, by name."""

    def groups(self) -> Mapping[str, Sequence[ParameterGroup]]:
        """Parameter groups of each player, in update order."""

    def losses(self, player: str, batch: Batch, context: Context) -> dict[str, Tensor]:
        """Unweighted terms of one player's turn."""

    def after_step(self, context: Context) -> None:
        """Called after all turns of an iteration."""

    def extra_state(self) -> dict[str, Any]:
        """State outside the networks."""

    def load_extra_state(self, state: Mapping[str, Any]) -> None:
        """Restore it."""


@dataclass(frozen=True)
class Plan:
    """How long, with which optimisers, weighted how.

    Attributes:
        title: what the progress line calls the work.
        seed: of the whole run.
        images: images of one domain to see in all, over all processes.
        batch: images of one domain in a step, over all processes.
        optimizers: by player.
        schedule: of all players' learning rates.
        weights: of each term.
    """

    title: str
    seed: int
    images: int
    batch: int
    optimizers: Mapping[str, OptimizerConfig]
    schedule: ScheduleConfig
    weights: Mapping[str, float]


class Interrupted(KeyboardInterrupt):
    """A person or the system asked the run to stop; a checkpoint has been written."""


def step_seed(seed: int, rank: int, images_seen: int) -> int:
    """The seed of one step's randomness, well mixed, in [0, 2^63)."""
    mixed = hashlib.blake2b(f"{seed}/{rank}/{images_seen}".encode(), digest_size=8).digest()
    return int.from_bytes(mixed, "big") >> 1


def fit(
    trainable: Trainable,
    plan: Plan,
    batches: Callable[[int], Iterable[Batch]],
    runtime: Runtime,
    run: RunDirectory,
    console: Console,
) -> dict[str, float]:
    """Train until `plan.images` are seen; goes on from a checkpoint where there is one.

    Args:
        trainable: networks, players and losses.
        plan: length, optimisers, weights.
        batches: images seen -> batches from there on (this process's share).
        runtime: device, precision, processes.
        run: where checkpoints and log lines go.
        console: where progress is shown.

    Returns:
        The last means of all terms, and `images_per_second`.

    Raises:
        ConfigError: all weights are 0, or a player has no optimizer, or a term no weight.
        RunError: a loss, or a weight of a network, is not finite.
        Interrupted: asked to stop; resumable.
    """
    if not any(plan.weights.values()):
        raise ConfigError("all weights are 0: nothing would be learnt", plan.title, "give a term a weight")
    # Networks, optimisers, and the checkpoint of an interrupted run.
    for network in trainable.networks.values():
        runtime.place(network).train()
    players = _Players(trainable, plan)
    seen, metrics = _load(trainable, players.optimizers, runtime, run)
    if seen:
        console.say(f"{plan.title}: going on at {seen} of {plan.images} images")

    # What is watched: sums of terms since the last status, time of the last checkpoint.
    sums: dict[str, Tensor] = {}
    steps, started, first = 0, time.monotonic(), seen
    last_status = last_checkpoint = started

    stream = iter(batches(seen))
    with (
        console.progress(plan.title, plan.images, done=seen) as progress,
        Tracker(run, runtime, seen) as tracker,
        _asked_to_stop() as stop,
    ):
        while seen < plan.images:
            # Everything random in this step follows from where the run stands; seeded after the batch is read, because
            # a DataLoader draws from the same generator when it starts, which is at another step in a resumed run.
            batch = next(stream).to(runtime.device)
            torch.manual_seed(step_seed(plan.seed, runtime.rank, seen))
            context = Context(images_seen=seen, total_images=plan.images)

            for terms in players.turns(batch, context, runtime):
                _add(terms, sums, seen)
            trainable.after_step(context)
            seen += plan.batch
            steps += 1

            # Status, checkpoint, stop: the only places where the device is waited for.
            now = time.monotonic()
            due = now - last_checkpoint >= runtime.config.checkpoint_seconds
            done, (stopping, due) = seen >= plan.images, runtime.any(stop.is_set(), due)
            saving = stopping or (due and not done)
            # Always before saving: a checkpoint of diverged weights could never be gone on from.
            if now - last_status >= _STATUS_SECONDS or done or saving:
                means = _means(sums, steps, plan.title)
                metrics = {**means, "images_per_second": (seen - first) / max(now - started, 1e-9)}
                progress.update(min(seen, plan.images), {**means, "images/s": metrics["images_per_second"]})
                tracker.log(seen, means)
                sums, steps, last_status = {}, 0, now
            if done or saving:
                _require_finite(players.parameters, seen, plan.title, runtime)
            if saving:
                _save(trainable, players.optimizers, seen, metrics, runtime, run)
                last_checkpoint = now
            # After the last step too: a person who stops a fit does not want what follows it either.
            if stopping:
                raise Interrupted(f"{plan.title} stopped at {min(seen, plan.images)} of {plan.images} images")
    runtime.average_statistics(trainable.networks.values())
    return metrics


_STATUS_SECONDS = 5.0
_SAME_STOP_SECONDS = 1.0


class _Players:
    """Who moves which parameters, and how.

    Attributes:
        optimizers: by player, in update order.
        parameters: of each player.
    """

    def __init__(self, trainable: Trainable, plan: Plan) -> None:
        groups = trainable.groups()
        if missing := groups.keys() - plan.optimizers.keys():
            raise ConfigError(
                f"no optimizer for player '{min(missing)}'", plan.title, "name it in the settings' optimizers"
            )
        self._trainable, self._plan = trainable, plan
        self.optimizers = {name: make_optimizer(plan.optimizers[name], groups[name]) for name in groups}
        self.parameters = {name: [p for group in groups[name] for p in group.parameters] for name in groups}

    def turns(self, batch: Batch, context: Context, runtime: Runtime) -> Iterator[dict[str, Tensor]]:
        """One update of each player after the other; yields the unweighted terms of each turn."""
        for player, optimizer in self.optimizers.items():
            self._only(player)
            set_rate(optimizer, self._plan.schedule, context.progress)
            with runtime.autocast():
                terms = self._trainable.losses(player, batch, context)
                weighted = [self._weight(name) * term for name, term in terms.items()]
                # A player may sit a turn out (a lazy regulariser, all weights 0).
                total = torch.stack(weighted).sum() if weighted else torch.zeros(())
            optimizer.zero_grad(set_to_none=True)
            if total.requires_grad:
                total.backward()
                runtime.average_gradients(self.parameters[player])
                if (limit := self._plan.optimizers[player].clip_norm) is not None:
                    nn.utils.clip_grad_norm_(self.parameters[player], limit)
                optimizer.step()
            yield terms
        self._only(None)

    def _only(self, player: str | None) -> None:
        """Let gradients reach the parameters of one player (None: of all)."""
        for name, own in self.parameters.items():
            for parameter in own:
                parameter.requires_grad_(player is None or name == player)

    def _weight(self, term: str) -> float:
        if term not in self._plan.weights:
            raise ConfigError(f"term '{term}' has no weight", self._plan.title, "name it in the settings' weights")
        return self._plan.weights[term]


def _add(terms: Mapping[str, Tensor], sums: dict[str, Tensor], seen: int) -> None:
    """Add terms to their sums; beside each, the images seen when it was first not finite. Waits for no device."""
    for name, term in terms.items():
        value = term.detach().float()
        if (so_far := sums.get(name)) is None:  # filled on the device: a tensor of Python's numbers would wait for it
            total, broken = value, value.new_full((), math.inf)
        else:
            total, broken = so_far.unbind()
            total = total + value
        sums[name] = torch.stack((total, torch.where(total.isfinite(), broken, broken.clamp(max=seen))))


def _means(sums: Mapping[str, Tensor], steps: int, title: str) -> dict[str, float]:
    """Means of the terms since the last status.

    Raises:
        RunError: some are not finite; the one that was so first is named, for it takes the others along.
    """
    totals = {name: entry.tolist() for name, entry in sums.items()}
    broken = {name: at for name, (_, at) in totals.items() if math.isfinite(at)}
    if broken:
        name = min(broken, key=lambda one: float(broken[one]))
        raise RunError(f"diverged: {name} is {totals[name][0]} at image {int(broken[name])}", title, _CALMER)
    return {name: total / max(steps, 1) for name, (total, _) in totals.items()}


_CALMER = "lower the learning rate or that term's weight; running again goes on from the last checkpoint"


def _require_finite(parameters: Mapping[str, Sequence[nn.Parameter]], seen: int, title: str, runtime: Runtime) -> None:
    """See that the last step left weights that can be gone on from: its losses are those of the weights before it.

    Raises:
        RunError: some weights are not finite.
    """
    for player, own in parameters.items():
        broken = bool(own) and not bool(torch.stack([parameter.isfinite().all() for parameter in own]).all())
        if any(runtime.any(broken)):
            raise RunError(f"diverged: weights of {player} are not finite after image {seen - 1}", title, _CALMER)


def _save(
    trainable: Trainable,
    optimizers: Mapping[str, torch.optim.Optimizer],
    seen: int,
    metrics: Mapping[str, float],
    runtime: Runtime,
    run: RunDirectory,
) -> None:
    if not runtime.is_main:
        return
    state = {
        "images_seen": seen,
        "metrics": dict(metrics),
        "networks": {name: network.state_dict() for name, network in trainable.networks.items()},
        "optimizers": {name: optimizer.state_dict() for name, optimizer in optimizers.items()},
        "extra": trainable.extra_state(),
    }
    temporary = run.path(CHECKPOINT + ".tmp")
    try:
        torch.save(state, temporary)
    except (OSError, RuntimeError) as error:
        temporary.unlink(missing_ok=True)  # half of it would keep a full disk full
        if isinstance(error, RuntimeError) and shutil.disk_usage(temporary.parent).free < _saved_bytes(state):
            raise OSError(errno.ENOSPC, "no space for a checkpoint", str(temporary)) from error
        raise
    temporary.replace(run.path(CHECKPOINT))


def _saved_bytes(state: Any) -> int:
    """Bytes of all tensors in nested dicts and lists."""
    if isinstance(state, torch.Tensor):
        return state.nbytes
    inner = state.values() if isinstance(state, Mapping) else state if isinstance(state, list | tuple) else ()
    return sum(map(_saved_bytes, inner))


def _load(
    trainable: Trainable,
    optimizers: Mapping[str, torch.optim.Optimizer],
    runtime: Runtime,
    run: RunDirectory,
) -> tuple[int, dict[str, float]]:
    """How many images were seen, and the metrics then."""
    file = run.path(CHECKPOINT)
    if not file.is_file():
        return 0, {}
    state = torch.load(file, map_location=runtime.device, weights_only=True)
    for name, network in trainable.networks.items():
        network.load_state_dict(state["networks"][name])
    for name, optimizer in optimizers.items():
        optimizer.load_state_dict(state["optimizers"][name])
    trainable.load_extra_state(state["extra"])
    return int(state["images_seen"]), dict(state.get("metrics", {}))  # absent from checkpoints of older versions


@contextmanager
def _asked_to_stop() -> Iterator[threading.Event]:
    """An event that Ctrl-C and SIGTERM set, so that the step in hand is finished; a second one ends at once.

    A SIGTERM that follows at once is the same one: where a system tells every process, a first one passes its own on.
    """
    event, since = threading.Event(), 0.0
    if threading.current_thread() is not threading.main_thread():
        yield event
        return

    def ask(number: int, frame: object) -> None:
        nonlocal since
        if not event.is_set():
            since = time.monotonic()
            event.set()
        elif number == signal.SIGINT or time.monotonic() - since > _SAME_STOP_SECONDS:
            raise KeyboardInterrupt

    old = {number: signal.signal(number, ask) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield event
    finally:
        for number, handler in old.items():
            signal.signal(number, handler)
