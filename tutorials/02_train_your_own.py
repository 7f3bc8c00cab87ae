# ---
# jupyter:
#   jupytext:
#     text_representation:
#       extension: .py
#       format_name: percent
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Train your own, and see whether it is any good
#
# The weights that come with the package were trained on many oceans and for hours. Yours may
# be another sea, another variable, or another set of satellites. This tutorial goes the whole
# way on a small scale: simulate oceans, look at them as satellites would, train a network on
# what is missing, and score its maps on an ocean that it never saw. It takes a few minutes on
# a laptop, and no knowledge of neural networks.

# %%
import tempfile
from pathlib import Path

import matplotlib.pyplot as plt
import xarray as xr

import xinverse
from xinverse import osse, plot

folder = Path(tempfile.mkdtemp())

# %% [markdown]
# ## Oceans, and one that is kept aside
#
# A network that has seen one ocean knows one ocean. `draw_ocean` draws the parameters of
# another for each seed: its latitude, the size of its eddies, the shear that feeds them.
# Three are to learn from; the fourth is for the score, and nothing will be chosen by looking
# at it.

# %%
oceans = [osse.draw_ocean(seed, spacing_km=(12, 12)) for seed in (1, 2, 3, 4)]
for ocean in oceans:
    print(
        f"{ocean.latitude:.0f}° N, deformation radius {ocean.rossby_radius_km:.0f} km, "
        f"shear {ocean.shear:.2f} m/s"
    )
runs = osse.simulate(
    oceans, folder / "oceans.zarr", days=80, spinup=300, size=64, seed=1, progress=False
)
*known, unseen = [run.ssh for run in runs]
unseen

# %% [markdown]
# ## What satellites see of them
#
# Four nadir altimeters and SWOT, on their real orbits, with 2 cm of noise. A cell that
# nothing passes over on a day is NaN.

# %%
SYSTEMS = ["nadir:4", "swot"]


def look(truth: xr.DataArray, seed: int) -> xr.DataArray:
    """Observations of an ocean, with gaps."""
    return osse.observe(truth, SYSTEMS, noise=0.02, seed=seed).ssh.load()


seen = [look(truth, seed) for seed, truth in enumerate(known)]
seen_unseen = look(unseen, 9)
print(f"{100 * float(seen_unseen.notnull().mean()):.1f} % of the cells are seen on a day")

plot.maps({"truth": unseen, "observations": seen_unseen}, time=40)
plt.show()

# %% [markdown]
# ## Train
#
# One call. The network starts from an optimal interpolation and learns to improve it. Its
# score is its error variance divided by that of the interpolation. `network=` makes it small
# and `steps=` the training short, so that this page is built in minutes. The defaults are
# larger, and the bundled weights were trained fifteen times as long.

# %%
model = xinverse.train(
    "4dvarnet",
    truth=known,
    observations=seen,
    noise=0.02,
    network={"window": 9, "prior_hidden": 12, "solver_hidden": 16, "steps": 4},
    patch=32,
    steps=200,
    every=25,
    learning_rate=4e-3,
    folder=folder / "training",
    card={"name": "tutorial"},
    progress=False,
)
model

# %% [markdown]
# The learning curve: the error on patches from the last fifth of each series, which no step
# of the training has used. Where the loss goes on falling and this one does not, more steps
# will not help, and more oceans will.

# %%
model.plot()
plt.show()

# %% [markdown]
# A file holds all of it: the weights, and the card that says what they are for. It is what
# `weights=` takes.

# %%
weights = model.save(folder / "tutorial.safetensors")

# %% [markdown]
# ## Score it on the ocean that it never saw
#
# Beside it, optimal interpolation with the scales that the network started from, and the
# weights that come with the package.

# %%
maps = {
    "OI": seen_unseen.inverse.interpolate(
        method="oi", length_scale=90, time_scale=10, noise=0.02, background=0.0
    ),
    "this one": seen_unseen.inverse.interpolate(
        method="4dvarnet", weights=weights, noise=0.02, background=0.0
    ),
    "bundled": seen_unseen.inverse.interpolate(method="4dvarnet", noise=0.02, background=0.0),
}
days = slice(10, -10)
result = xinverse.compare({k: v[days] for k, v in maps.items()}, unseen[days])
result

# %% [markdown]
# How to read the table:
#
# - *gain*: the share of the first map's mean-square error that another one takes away;
# - *λx*, *λt*: the wavelength and the period at which the error is half as strong as the sea
#   itself. Below them a map shows little that is true;
# - *µ*: one minus the error over the signal, both root mean square: 1 is perfect.
#
# [How to read the scores](../scores.md) has each formula.

# %%
result.plot(time=unseen.time[40])
plt.show()

# %% [markdown]
# ## Where to go from here
#
# - Without a truth: leave `truth=` out, and the network learns from observations that are
#   withheld. [Training your own](../training.md) says how, and how to go on after a kill, on
#   GPUs, and from stores larger than memory.
# - Clouds, swaths with correlated errors, other satellites: [making an OSSE](../osse.md).
# - How the bundled weights were made, and how good they are: [4DVarNet](../4dvarnet.md) and
#   [results](../results.md).
