"""Feature extractors: a file an extractor."""
