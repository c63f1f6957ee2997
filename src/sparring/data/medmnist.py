"""MedMNIST: small medical images of twelve kinds, in one .npz each."""

from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np

from sparring.config.errors import UserError
from sparring.data.downloads import obtain
from sparring.data.image_io import check_size
from sparring.data.npz import ArraysIn
from sparring.data.source import Arrays, stamp
from sparring.storage.files import atomic_write

RECORD = "https://zenodo.org/records/10519652"
SIZES = (28, 64, 128, 224)


class Facts(NamedTuple):
    """A set's own channels, the names of its classes, and the MD5 sums of its files of each size."""

    channels: int
    classes: str
    md5: str


ORGANS = (
    "bladder; femur-left; femur-right; heart; kidney-left; kidney-right; liver; lung-left; lung-right; pancreas; spleen"
)
SETS = {  # as medmnist 3.0.2 has them
    "pathmnist": Facts(
        3,
        "adipose; background; debris; lymphocytes; mucus; smooth muscle; normal colon mucosa; "
        "cancer-associated stroma; colorectal adenocarcinoma epithelium",
        "a8b06965200029087d5bd730944a56c1 55aa9c1e0525abe5a6b9d8343a507616 "
        "ac42d08fb904d92c244187169d1fd1d9 2c51a510bcdc9cf8ddb2af93af1eadec",
    ),
    "chestmnist": Facts(
        1,
        "",
        "02c8a6516a18b556561a56cbdd36c4a8 9de6cd0b934ebb5b7426cfba5efbae16 "
        "db107e5590b27930b62dbaf558aebee3 45bd33e6f06c3e8cdb481c74a89152aa",
    ),
    "dermamnist": Facts(
        3,
        "actinic keratoses and intraepithelial carcinoma; basal cell carcinoma; "
        "benign keratosis-like lesions; dermatofibroma; melanoma; melanocytic nevi; vascular lesions",
        "0744692d530f8e62ec473284d019b0c7 b70a2f5635c6199aeaa28c31d7202e1f "
        "2defd784463fa5243564e855ed717de1 8974907d8e169bef5f5b96bc506ae45d",
    ),
    "octmnist": Facts(
        1,
        "choroidal neovascularization; diabetic macular edema; drusen; normal",
        "c68d92d5b585d8d81f7112f81e2d0842 e229e9440236b774d9f0dfef9d07bdaf "
        "0a97e76651ace45c5d943ee3f65b63ae abc493b6d529d5de7569faaef2773ba3",
    ),
    "pneumoniamnist": Facts(
        1,
        "normal; pneumonia",
        "28209eda62fecd6e6a2d98b1501bb15f 8f4eceb4ccffa70c672198ea285246c6 "
        "05b46931834c231683c68f40c47b2971 d6a3c71de1b945ea11211b03746c1fe1",
    ),
    "retinamnist": Facts(
        3,
        "0; 1; 2; 3; 4",
        "bd4c0672f1bba3e3a89f0e4e876791e4 afda852cc34dcda56f86ad2b2457dbcc "
        "e48e916a24454daf90583d4e6efb1a18 eae7e3b6f3fcbda4ae613ebdcbe35348",
    ),
    "breastmnist": Facts(
        1,
        "malignant; normal, benign",
        "750601b1f35ba3300ea97c75c52ff8f6 742edef2a1fd1524b2efff4bd7ba9364 "
        "363e4b3f8d712e9b5de15470a2aaadf1 b56378a6eefa9fed602bb16d192d4c8b",
    ),
    "bloodmnist": Facts(
        3,
        "basophil; eosinophil; erythroblast; immature granulocytes; lymphocyte; monocyte; neutrophil; platelet",
        "7053d0359d879ad8a5505303e11de1dc 2b94928a2ae4916078ca51e05b6b800b "
        "adace1e0ed228fccda1f39692059dd4c b718ff6835fcbdb22ba9eacccd7b2601",
    ),
    "tissuemnist": Facts(
        1,
        "collecting duct, connecting tubule; distal convoluted tubule; glomerular endothelial cells; "
        "interstitial endothelial cells; leukocytes; podocytes; proximal tubule segments; thick ascending limb",
        "ebe78ee8b05294063de985d821c1c34b 123ece2eba09d0aa5d698fda57103344 "
        "61b955355d7425a89687b06cca3ce0c2 b077128c4a949f0a4eb01517f9037b9c",
    ),
    "organamnist": Facts(
        1,
        ORGANS,
        "68e3f8846a6bd62f0c9bf841c0d9eacc 2dcccc29b88e6da5a01161ef20cda288 "
        "eeae80d0a227a8d099027e1b3cfd3b60 50747347e05c87dd3aaf92c49f9f3170",
    ),
    "organcmnist": Facts(
        1,
        ORGANS,
        "b9ceb9546e10131b32923c5bbeaea2b1 3ce34a8724ea6f548e6db4744d03b6a9 "
        "773c1f009daa3fe5d9a2a201b2a7ed94 050f5e875dc056f6768abf94ec9995d1",
    ),
    "organsmnist": Facts(
        1,
        ORGANS,
        "9ab87b696fb54e2a387ebe992d6ed5f1 53a6d115339d874c25e309a994ff46d3 "
        "ded0c5fa01a95dc4978b956f613e9b8e b354719e553fbbb2513d5533f52a4cb1",
    ),
}


class MedMNIST(Arrays):
    """One of the twelve 2-D sets of MedMNIST v2 (Yang et al. 2023), 28x28, or larger in its later release, MedMNIST+.

    The file is the smallest published one (28, 64, 128, 224 pixels) of at least ``image_size``; images are resized where it
    is none of these. ChestMNIST names fourteen findings, any of them in an image: here it is unlabelled.

    Args:
        of: which set: ``pathmnist``, ``bloodmnist`` ...
        path: the folder in which ``pathmnist.npz``, ``pathmnist_64.npz`` ... lie, or are downloaded to.
        split: ``train``, ``val`` or ``test``.
        image_size: pixels of a side.
        channels: 1 or 3; by default the set's own.
    """

    def __init__(
        self,
        of: str = "pathmnist",
        path: str = ".",
        split: Literal["train", "val", "test"] = "train",
        image_size: int = 28,
        channels: int | None = None,
    ):
        if of not in SETS:
            raise ValueError(f"data.of={of}: must be one of {', '.join(SETS)}")
        facts = SETS[of]
        names = facts.classes.split("; ") if facts.classes else ()
        super().__init__(image_size, facts.channels if channels is None else channels, names)
        size = next((size for size in SIZES if size >= image_size), SIZES[-1])
        self.of, self.split, self.md5 = of, split, facts.md5.split()[SIZES.index(size)]
        self.file = Path(path).expanduser() / (f"{of}.npz" if size == SIZES[0] else f"{of}_{size}.npz")

    @property
    def name(self) -> str:
        return self.of

    def prepare(self) -> None:
        if not self.file.is_file():
            url = f"{RECORD}/files/{self.file.name}"
            place, name = self.file.parent, self.file.name
            obtain("MedMNIST", place, name, url, lambda: self._download(f"{url}?download=1"), fetches=self.fetches)

    def identity(self) -> dict:
        return {"split": self.split, "file": stamp(self.file)}

    def load(self) -> tuple[np.ndarray, np.ndarray | None]:
        """Raises UserError if the file is not what was published."""
        names = f"{self.split}_images", f"{self.split}_labels"
        try:
            content = ArraysIn(self.file)
            if missing := [name for name in names if name not in content.names]:
                raise ValueError(f"it holds no {missing[0]}")
            images, labels = (content.header(name) for name in names)
            fits = len(images.shape) >= 3 and images.shape[3:] in ((), (3,)) and labels.shape[:1] == images.shape[:1]
            if images.dtype != np.uint8 or not fits or not images.size or not labels.size:
                raise UserError(
                    f"{self.file}: {names[0]} is {images} and {names[1]} {labels.shape}; "
                    "2-D sets of MedMNIST have uint8 images (N, H, W) or (N, H, W, 3) and labels (N, 1)"
                )
            check_size(images.shape[2], images.shape[1])
            images, labels = (content.read(name) for name in names)
        except UserError:
            raise
        except ValueError as error:
            raise UserError(
                f"{self.file} can't be read as a file of MedMNIST ({error}). Remove it: it is then downloaded again."
            ) from error
        if not self.class_names:
            return images, None
        known = labels.shape[1:] == (1,) and np.issubdtype(labels.dtype, np.integer)
        if not known or labels.min() < 0 or labels.max() >= self.num_classes:
            raise UserError(f"{self.file}: its labels are not those of data.of={self.of}, 0 to {self.num_classes - 1}")
        return images, labels[:, 0].astype(np.int64)

    def _download(self, url: str) -> None:
        from torchvision.datasets.utils import download_url

        with atomic_write(self.file) as partial:  # what was downloaded in part is not taken for the file
            download_url(url, str(partial.parent), partial.name, self.md5)
