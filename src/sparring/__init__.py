"""Sparring: experiments with generative adversarial networks."""
