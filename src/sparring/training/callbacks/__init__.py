"""What accompanies training: checkpoints, scores, pictures, progress, warnings, stopping."""
