"""What is added to an adversarial loss, or done after an update: a class an equation.

A regularizer joins one player's turn and returns its unreduced value, or None if it adds no term. If it is used every
n-th iteration alone, its weight is multiplied by n (lazy regularization, Karras et al. 2020, StyleGAN2). The term joins
the player's own step. StyleGAN2 gives it a step of its own and corrects Adam for that, which is not due here.
"""
