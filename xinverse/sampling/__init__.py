"""Sampling designs: where the next observations should be taken. Arrays only, no labels."""
