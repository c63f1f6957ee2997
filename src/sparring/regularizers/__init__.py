"""What is added to an adversarial loss, or done after an update: a class an equation.

A regularizer joins one player's turn, every so many iterations with its weight multiplied by as many (lazy
regularisation, Karras et al. 2020, StyleGAN2), and returns its unreduced value, or None if it adds no term. The term
joins the player's own step; StyleGAN2's correction of Adam, made because a lazy term has a step of its own there, is
not due here.
"""
