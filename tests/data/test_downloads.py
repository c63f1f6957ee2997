"""A download that fails says why, and how to place the files by hand."""

import re
import sys
from urllib.error import URLError

import pytest
import torchvision
from sources import QUOTA, failing, offline  # noqa: F401

from sparring.config.errors import UserError
from sparring.data.celeba import CelebA
from sparring.data.cifar10 import CIFAR10
from sparring.data.mnist import MNIST, FashionMNIST

SETS = [
    (MNIST, "MNIST/raw", "{train,t10k}-{images-idx3,labels-idx1}-ubyte", "ossci-datasets"),
    (FashionMNIST, "FashionMNIST/raw", "{train,t10k}-{images-idx3,labels-idx1}-ubyte", "fashion-mnist.s3"),
    (CIFAR10, "", "cifar-10-python.tar.gz", "https://www.cs.toronto.edu"),
    (CelebA, "celeba", "img_align_celeba.zip", "https://mmlab.ie.cuhk.edu.hk"),
]
DOWNLOADERS = {
    MNIST: (torchvision.datasets.mnist, "download_and_extract_archive"),
    FashionMNIST: (torchvision.datasets.mnist, "download_and_extract_archive"),
    CIFAR10: (torchvision.datasets.cifar, "download_and_extract_archive"),
    CelebA: (torchvision.datasets.celeba, "download_file_from_google_drive"),
}


@pytest.mark.parametrize("error", [URLError("no route"), RuntimeError("corrupted"), QUOTA, OSError(), SystemExit(1)])
@pytest.mark.parametrize(("kind", "folder", "expected", "where"), SETS)
def test_a_failed_download_says_how_to_place_the_files_by_hand(
    kind, folder, expected, where, error, tmp_path, monkeypatch
):
    failing(monkeypatch, *DOWNLOADERS[kind], error)
    with pytest.raises(UserError) as error:
        kind(str(tmp_path / "new")).prepare()
    lines = dict(re.findall(r"^ *(Place it by hand in|expected:|from:) +(.*)$", str(error.value), re.MULTILINE))
    assert lines["Place it by hand in"] == str(tmp_path / "new" / folder)
    assert expected in lines["expected:"]
    assert where in lines["from:"]
    assert "data.path=DIR" in str(error.value)


@pytest.mark.parametrize("kind", [MNIST, FashionMNIST, CIFAR10, CelebA])
def test_a_failed_download_says_why(kind, tmp_path):
    with pytest.raises(UserError, match=r"could not be downloaded \((.|\n)*(Name or service not known|Too many users)"):
        kind(str(tmp_path)).prepare()


def test_a_download_of_celeba_without_gdown_says_how_to_install_it(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "gdown", None)
    with pytest.raises(UserError, match=r"data=celeba: needs gdown: pip install 'sparring\[celeba\]'"):
        CelebA(str(tmp_path)).prepare()
