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
# # A first map
#
# Altimeters see the sea surface along lines, and each line once in ten days or more. This
# tutorial takes such observations from a Zarr store, fills what lies between the lines in two
# ways, and compares the maps with the truth. You need to know xarray a little, and nothing
# about neural networks. It takes about a minute.

# %%
import tempfile
import textwrap
from pathlib import Path

import matplotlib.pyplot as plt
import xarray as xr

import xinverse
from xinverse import plot
from xinverse.demo import Size, simulate

# %% [markdown]
# ## A sea whose truth is known
#
# To know how good a map is, one has to know what it should show. So this sea is simulated: a
# month of eddies in a box of 770 km, on a 12-km grid, with an island on it. With data of your
# own you start two sections further down.

# %%
truth = simulate(Size(cells=64, spinup=250, days=30, margin=5))
truth

# %% [markdown]
# ## What satellites see of it
#
# Four altimeters fly over it, on the orbits of real missions, and measure with a noise of 2
# cm. A cell that no track crosses on a day is NaN: a *gap*. The island is NaN as well, and
# that is not a gap. The variable `sea` tells the two apart; xinverse knows it by its
# `standard_name`, which is `sea_binary_mask`.

# %%
seen = xinverse.osse.observe(truth.ssh, ["nadir:4"], noise=0.02, seed=1)
seen = seen.assign(sea=truth.sea)

day = 15
plot.maps({"truth": truth.ssh, "observations": seen.ssh}, time=day)
plt.show()

# %% [markdown]
# Observations usually come in files. Here they go to a Zarr store, cut into chunks of 10 days
# and 32 × 32 cells.

# %%
folder = Path(tempfile.mkdtemp())
l3 = seen.chunk(time=10, latitude=32, longitude=32)
_ = l3.to_zarr(folder / "l3.zarr", zarr_format=2)

# %% [markdown]
# ## Open it, and see what xinverse understands
#
# From here on, `ds` could be your own data. It is opened with dask, so that nothing is read
# yet.

# %%
ds = xr.open_zarr(folder / "l3.zarr")
ds.inverse

# %% [markdown]
# `ds.inverse` says which dimensions it takes for time, y and x, how far the cells are apart,
# where it knows land from, and what could fill the gaps. If something is wrong here, it will
# be wrong everywhere: this is the place to look first.
#
# ## Optimal interpolation
#
# `method="oi"` is the classical one. It has to be told how far apart two points of the sea
# may lie and still resemble each other (`length_scale` in km, `time_scale` in days), and how
# noisy an observation is (`noise`, in the units of the variable).

# %%
oi = ds.inverse.interpolate(method="oi", length_scale=90, time_scale=10, noise=0.02)
oi.ssh

# %% [markdown]
# This took no time, because nothing was computed: like its input, the result is a promise,
# with the same names, coordinates, attributes and chunks. The work is done when the result is
# wanted, for instance to be written, chunk by chunk. (`dask.diagnostics.ProgressBar` shows
# how far it is.)

# %%
_ = oi.to_zarr(folder / "l4-oi.zarr", zarr_format=2)
oi = xr.open_zarr(folder / "l4-oi.zarr")

# %% [markdown]
# Every gap is filled, and the island is not:

# %%
filled, sea = oi.ssh.notnull().compute(), ds.sea.compute() == 1
print("every cell of the sea has a value:", bool(filled.where(sea, True).all()))
print("no cell of the island has one:", not bool(filled.where(~sea, False).any()))

# %% [markdown]
# ## How far can it be trusted?
#
# Many seas agree with the same observations. `members=` draws some of them at random: maps
# that agree where the sea was observed and differ where it was not. Their spread is the error
# of the map, one standard deviation, in metres.

# %%
drawn = ds.inverse.interpolate(
    method="oi", length_scale=90, time_scale=10, noise=0.02, members=16
)
members = drawn.ssh_members.compute()
error = members.std("member", ddof=1, skipna=False).rename("ssh_error")
error = error.assign_attrs(long_name="error, one standard deviation", units="m")

plot.maps({f"member {k + 1}": members[k] for k in range(3)}, time=day)
plot.maps({"error": error}, time=day)
plt.show()

# %% [markdown]
# The error is small along the tracks of the days around, and large where none has passed, and
# at the edges of the box. Sixteen members give it to about a fifth; `error=True` works it out
# without drawing, which takes longer where there are thousands of observations.
#
# ## A learned method
#
# Optimal interpolation takes the sea for a random field with one length scale. The real one
# has eddies and fronts, which move. A *learned* method has seen examples: many simulated
# seas, their simulated observations, and what the map should have been. `method="4dvarnet"`
# has two networks that were adjusted until its maps of these examples came as close to the
# truth as they could: one says what a likely sea looks like, the other how to improve a first
# map, step by step, so that it agrees both with the observations and with that idea of the
# sea. (Its first map is the optimal interpolation.)
#
# There is nothing to train here. What was learned, the *weights*, comes with the package, and
# so does a *model card* that says for which data it is meant:

# %%
from xinverse.weights import cards

for card in cards().values():
    print(f"{card.name}: {card.summary}")
    print(f"For {card.variables[0]} in {card.units}, every {card.time_step_days:g} day,")
    print("on grids of {:g} to {:g} km.".format(*card.grid_spacing_km))
    print(textwrap.fill(f"Learned from {card.training}", 90))

# %% [markdown]
# Data that the card does not cover are refused, with the reason. Ours are covered:

# %%
net = ds.inverse.interpolate(method="4dvarnet", noise=0.02)
_ = net.to_zarr(folder / "l4-4dvarnet.zarr", zarr_format=2)
net = xr.open_zarr(folder / "l4-4dvarnet.zarr")

# %% [markdown]
# ## Side by side
#
# The second row shows what each map has wrong, and what optimal interpolation expected to
# have wrong.

# %%
plot.comparison(truth.ssh, ds, {"OI": oi.assign(ssh_error=error), "4DVarNet": net}, time=day)
plt.show()

# %% [markdown]
# One number for each: the *normalised mean-square error*, 0 for the truth and 1 for a map
# without any structure. The first and last five days are left out, because there observations
# lie on one side only.

# %%
days = slice(5, -5)
for name, maps in {"OI": oi, "4DVarNet": net}.items():
    score = xinverse.scores.normalised_mse(maps.ssh[days], truth.ssh[days])
    print(f"{name:9} {float(score):.4f}")

# %% [markdown]
# This is one month of one simulated sea, of a kind that the weights have learned from. How
# the methods compare on your sea is for your data to say: leave a satellite out, and use
# `xinverse.scores.along_track`.
#
# ## More than fits in memory
#
# A sea that is too large to be solved at once is cut into *tiles*: a core that is kept, and a
# halo around it, so that the core sees the observations beyond its edge. Where cores meet,
# their maps are blended. The tiles follow from the grid and the method, never from the chunks
# of the file, so that the chunks do not change the result. Here is how a larger box would be
# cut:

# %%
plan = xinverse.tiling.plan((60, 240, 360), tile=(60, 80, 90), halo=(20, 16, 16))
plan.plot()
plt.show()
plan

# %% [markdown]
# ## Where to go from here
#
# - With your own data: [gaps and land](../gaps-and-land.md), and the
#   [words](../idea.md#words) that these pages use.
# - What the methods do: [the idea](../idea.md).
# - Other weights, or a cluster without network: [weights](../weights.md).
