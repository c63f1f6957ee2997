"""One message for all failed downloads of published data sets: where to place the files by hand."""

from collections.abc import Callable
from pathlib import Path

from sparring.config.errors import UserError

DOWNLOAD_AGAIN = "Remove it: it is then downloaded again."


def download(
    name: str,
    folder: Path,
    *,
    fetch: Callable[[], object],
    allowed: bool,
    expected: str,
    where: str,
    advice: str = "",
) -> None:
    """Download a data set to its folder, if that is allowed, by calling ``fetch``, which may raise anything.

    Raises:
        UserError: the download failed; the message says where to place which ``expected`` files, and ``where`` from.
    """
    try:
        if not allowed:
            raise ValueError("for a stored run's data nothing is written outside the cache folder")
        folder.mkdir(parents=True, exist_ok=True)
        fetch()
    except (Exception, SystemExit) as error:  # from urllib, gdown, zipfile, torchvision's RuntimeError ...
        reason = " ".join(str(error).split()) or type(error).__name__
        raise UserError(
            f"{name} could not be downloaded ({reason}).\n"
            f"Place it by hand in  {folder.absolute()}\n"
            f"       expected:     {expected}\n"
            f"       from:         {where}\n"
            f"and start again, or name another folder with data.path=DIR.{advice}"
        ) from error
