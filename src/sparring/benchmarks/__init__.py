"""What can be measured on the machine at hand, as ratios within one run."""
