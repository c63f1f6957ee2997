"""What a trained generator has learnt, read from its latents: directions, walks, the latents of given examples."""
