"""What a trained generator has learnt, read from its latents: directions, walks, the latents of given examples."""

from sparring.reading.directions import directions
from sparring.reading.projection import Projection, project
from sparring.reading.space import Space

__all__ = ["Projection", "Space", "directions", "project"]
