"""What is added to an adversarial loss, or done after an update: a class an equation.

A regularizer joins one player's turn, every so many iterations with its weight multiplied by as many (lazy
regularisation, Karras et al. 2020, StyleGAN2), and returns its unreduced value, or None if it adds no term. The term
joins the player's own step; StyleGAN2's correction of Adam, made because a lazy term has a step of its own there, is
not due here.
"""

from sparring.regularizers.base import Regularizer, Schedule
from sparring.regularizers.consistency import BalancedConsistency, Consistency, LatentConsistency, LatentDiversity
from sparring.regularizers.generator import FeatureMatching, ModeSeeking, PathLength, TopK
from sparring.regularizers.gradients import R1, R2, Dragan, GradientPenalty, ZeroCentered
from sparring.regularizers.lecam import LeCam
from sparring.regularizers.weights import Orthogonal, WeightClipping

__all__ = [
    "R1",
    "R2",
    "BalancedConsistency",
    "Consistency",
    "Dragan",
    "FeatureMatching",
    "GradientPenalty",
    "LatentConsistency",
    "LatentDiversity",
    "LeCam",
    "ModeSeeking",
    "Orthogonal",
    "PathLength",
    "Regularizer",
    "Schedule",
    "TopK",
    "WeightClipping",
    "ZeroCentered",
]
