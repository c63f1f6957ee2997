"""What ``task=`` names: a file for each, which reads as the recipe of its job."""
