"""The modality that the ``data`` of a configuration names."""

import inspect
from collections.abc import Mapping
from typing import Any

from sparring.data.modalities.base import Modality
from sparring.data.modalities.images import Images
from sparring.data.modalities.points import Points
from sparring.data.modalities.sounds import Sounds
from sparring.data.modalities.text import Text
from sparring.data.modalities.volumes import Clips, Voxels

KINDS: dict[str, type[Modality]] = {kind.name: kind for kind in (Images, Points, Clips, Voxels, Sounds, Text)}


def facts(data: Mapping[str, Any]) -> dict[str, Any]:
    """Return the keys of ``data`` that ``modality_of`` needs."""
    name = data.get("modality") or ("points" if data.get("image_size") == 1 else "images")  # unset by earlier versions
    return {"modality": name} | {key: data[key] for key in inspect.signature(KINDS[name]).parameters}


def modality_of(data: Mapping[str, Any]) -> Modality:
    """Return the modality that ``data`` of a configuration names; keys named as its arguments are passed to it."""
    given = facts(data)
    return KINDS[given.pop("modality")](**given)
