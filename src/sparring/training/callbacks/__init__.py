"""What happens beside training: progress, checkpoints, pictures, warnings, stopping."""
