"""How clean images are damaged: what restoration mends and super-resolution enlarges."""

from sparring.degradations.base import Degradation
from sparring.degradations.jpeg import JPEG
from sparring.degradations.masks import Mask, mean_fill
from sparring.degradations.mixed import Mixed
from sparring.degradations.quality import Blur, Downscale, Noise

__all__ = ["JPEG", "Blur", "Degradation", "Downscale", "Mask", "Mixed", "Noise", "mean_fill"]
