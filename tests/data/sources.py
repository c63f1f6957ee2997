"""What tests of sources share."""

import urllib.request
from urllib.error import URLError

import gdown
import numpy as np
import pytest
from PIL import Image

QUOTA = gdown.exceptions.FileURLRetrievalError("Too many users have viewed or downloaded this file recently.")


def failing(monkeypatch, module, name, error):
    def fail(*_, **__):
        raise error

    monkeypatch.setattr(module, name, fail)


@pytest.fixture(autouse=True)
def offline(monkeypatch):
    """Every download fails, in the tests of a module that imports this."""
    failing(monkeypatch, urllib.request, "urlopen", URLError("Name or service not known"))
    failing(monkeypatch, gdown, "download", QUOTA)


def noise(*shape):
    return np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)


def examples(source):
    """Pixels (N, C, H, W) and labels of a source."""
    source.prepare()
    pixels, labels = zip(*source, strict=True)
    assert len(source) == len(labels)
    return np.stack(pixels), list(labels)


def paint(path, colour=(0, 0, 0), size=(12, 8), **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, colour).save(path, **options)
