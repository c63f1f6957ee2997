"""What a trained generator makes and has learnt: samples, walks in its latents, projections, translations, exports."""
