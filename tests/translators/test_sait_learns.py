"""Sanity: on two toy domains whose regions differ in colour by class, a minute network learns to reconstruct."""

from __future__ import annotations

import torch

from uda.data.batch import Batch, Context
from uda.translators.base import Setting
from uda.translators.sait import Sait, SaitConfig

SIZE, CLASSES, STEPS = 32, 3, 60
COLOURS = {
    "source": torch.tensor([[0.8, -0.6, -0.6], [-0.6, 0.8, -0.6], [-0.6, -0.6, 0.8]]),
    "target": torch.tensor([[0.5, 0.1, -0.4], [-0.3, 0.3, -0.1], [-0.5, -0.1, 0.3]]),
}


def draw(domain: str, generator: torch.Generator) -> torch.Tensor:
    coarse = torch.randint(0, CLASSES, (4, 1, 4, 4), generator=generator).float()
    labels = torch.nn.functional.interpolate(coarse, size=(SIZE, SIZE))[:, 0].long()
    noise = 0.05 * torch.randn(4, SIZE, SIZE, 3, generator=generator)
    return (COLOURS[domain][labels] + noise).clamp(-1, 1).permute(0, 3, 1, 2).contiguous()


def nearest_colour(images: torch.Tensor) -> torch.Tensor:
    """A guide that reads the class off the colour, in either domain."""
    distances = [(images[:, None] - colours[None, :, :, None, None]).square().sum(2) for colours in COLOURS.values()]
    return -4 * torch.minimum(*distances)


def test_reconstruction_falls_within_sixty_steps() -> None:
    torch.manual_seed(0)
    config = SaitConfig(
        width=8,
        encoder_blocks=1,
        generator_blocks=1,
        spade_hidden=16,
        discriminator_width=8,
        discriminator_layers=2,
        discriminator_scales=2,
    )
    translator = Sait(config, Setting(CLASSES, nearest_colour))
    players = translator.players()
    # Ten times the recipe's rates, which are made for a million steps.
    optimizers = {
        name: torch.optim.Adam(p, lr=10 * config.optimizers[name].lr, betas=(0.0, 0.9)) for name, p in players.items()
    }
    generator, history = torch.Generator().manual_seed(1), []
    for step in range(STEPS):
        batch = Batch(draw("source", generator), None, draw("target", generator), None)
        context = Context(images_seen=4 * step, total_images=4 * STEPS)
        for player, optimizer in optimizers.items():
            for name, parameters in players.items():
                for parameter in parameters:
                    parameter.requires_grad_(name == player)
            terms = translator.losses(player, batch, context)
            optimizer.zero_grad()
            torch.stack([config.term_weights[name] * term for name, term in terms.items()]).sum().backward()
            optimizer.step()
            if player == "generator":
                history.append({name: term.item() for name, term in terms.items()})
    first, last = history[0], history[-1]
    assert last["reconstruction"] < 0.6 * first["reconstruction"]
    assert last["image_cycle"] < 0.8 * first["image_cycle"]
    assert last["symmetric_ce"] < first["symmetric_ce"]
    listens(translator)


def listens(translator: Sait) -> None:
    """See that a fitted translator has not learnt to do without its guidance: another image's changes the picture."""
    images = draw("source", torch.Generator().manual_seed(2))
    with torch.no_grad():
        made = translator.translate(Batch(images), generator=torch.Generator()).images_BCHW
        swapped = translator.swap_guidance(Batch(images))
    assert swapped is not None
    change_BHW = (swapped.images_BCHW - made).abs().mean(1)
    classes_BHW = nearest_colour(images).argmax(1)
    other_BHW = classes_BHW != classes_BHW.roll(-1, dims=0)
    assert change_BHW.mean() > 0.1  # of 2, from black to white
    assert change_BHW[other_BHW].mean() > 2 * change_BHW[~other_BHW].mean()
