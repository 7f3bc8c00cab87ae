"""Along-track points: reading, gridding, and scoring maps against them."""
