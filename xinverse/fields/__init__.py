"""Labels to arrays and back: CF axes, grids, land, units, attributes, history."""
