"""Libraries that only some commands need."""

import math
import sys

import pytest

from sparring.config.errors import UserError
from sparring.config.extras import import_extra


def test_an_installed_library_is_returned():
    assert import_extra("math", "all", "data=audio") is math


def test_a_missing_library_is_named_with_its_extra_and_the_command_that_installs_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "soundfile", None)
    with pytest.raises(UserError, match=r"^data=audio: needs soundfile: pip install 'sparring\[sound\]'$"):
        import_extra("soundfile", "sound", "data=audio")
