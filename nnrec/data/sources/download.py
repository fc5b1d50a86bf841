"""Download of the public MovieLens releases: checked, safely unpacked, atomic."""

from __future__ import annotations

import errno
import os
import re
import shutil
import stat
import sys
import tempfile
import zipfile
from pathlib import Path, PurePosixPath

from nnrec.core.errors import DataError
from nnrec.data.sources.movielens_releases import advice, find, release_of

BASE_URL = "https://files.grouplens.org/datasets/movielens"
MAX_UNPACKED = 4 * 2**30  # bytes; the largest release unpacks to little more than 1 GiB


def ensure(release: str, folder: str | Path, base_url: str = BASE_URL, md5: str | None = None) -> Path:
    """Returns the folder of a release, after downloading it from its publisher if it is absent.

    Args:
        release: name of the release.
        folder: where the release is, or where to put it.
        base_url: address of `<release>.zip`, and of `<release>.zip.md5` if no checksum is known.
        md5: checksum of the zip; None = the published one.

    Raises:
        DataError: no connection, a wrong checksum, an unsafe or damaged zip, a full disk, or a folder
            with other content at the target. No incomplete files are left behind.
    """
    target = Path(folder).expanduser().absolute()
    present = find(release, target)
    if present is not None:
        return present
    layout = release_of(release)
    url = f"{base_url}/{release}.zip"
    by_hand = f"fetch {url} by hand and unpack it as {target}. {advice(release)} if you keep it elsewhere."
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise DataError(f"{target} exists but holds no {layout.ratings}: complete it, or move it away and {by_hand}")
    print(
        f"Fetching {release} from {base_url}.\nMovieLens is for research: do not pass it on or use it commercially "
        "without permission, and cite Harper & Konstan (2015), doi:10.1145/2827872.\n"
        f"Full terms: {base_url}/{layout.readme}",
        file=sys.stderr,
    )
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=f".{release}-", dir=target.parent) as temporary:
            archive = _fetch(url, Path(temporary), md5 or layout.md5, by_hand)
            unpacked = Path(temporary, "unpacked")
            unpack(archive, unpacked)
            found = find(release, unpacked)
            if found is None:
                raise DataError(f"{url} holds no {layout.ratings}: the publisher has changed its layout.")
            try:
                os.replace(found, target)
            except OSError:
                if (present := find(release, target)) is None:  # else another process has fetched it meanwhile
                    raise
                return present
    except OSError as error:
        if error.errno == errno.ENOSPC:
            raise DataError(
                f"The disk of {target.parent} is full; nothing was left there. Make room, or {by_hand}"
            ) from error
        raise DataError(
            f"{release} cannot be stored in {target}: {error}. Choose another place, or {by_hand}"
        ) from error
    return target


def _fetch(url: str, folder: Path, md5: str | None, by_hand: str) -> Path:
    import pooch
    import requests

    pooch.get_logger().setLevel("ERROR")
    try:
        if md5 is None:
            listed = Path(pooch.retrieve(f"{url}.md5", known_hash=None, fname="md5", path=folder)).read_text("latin-1")
            match = re.search(r"\b[0-9a-fA-F]{32}\b", listed)
            if match is None:
                raise DataError(f"{url}.md5 holds no checksum. Try again, or {by_hand}")
            md5 = match[0].lower()
        downloader = pooch.HTTPDownloader(progressbar=True)
        return Path(pooch.retrieve(url, f"md5:{md5}", fname="release.zip", path=folder, downloader=downloader))
    except requests.RequestException as error:
        reason = str(error) if isinstance(error, requests.HTTPError) else type(error).__name__
        raise DataError(f"{url} cannot be fetched ({reason}). Check the connection, or {by_hand}") from error
    except ValueError as error:
        problem = f"{url} does not have the published checksum (md5 {md5}): damaged on the way, or changed"
        raise DataError(f"{problem}. Try again, or {by_hand}") from error


def unpack(archive: Path, folder: Path) -> None:
    """Unpacks a zip into a new folder, plain files only.

    Raises:
        DataError: not a zip, damaged, larger than `MAX_UNPACKED` when unpacked, or a member is a link
            or would be written outside the folder. All members are checked before anything is written.
        OSError: the disk is full.
    """
    try:
        with zipfile.ZipFile(archive) as content:
            members = content.infolist()
            for member in members:
                _check(member, archive)
            size = sum(member.file_size for member in members)
            if size > MAX_UNPACKED:
                raise DataError(f"{archive.name} would unpack to {size:,} bytes, more than {MAX_UNPACKED:,}: refused.")
            folder.mkdir()
            if size > shutil.disk_usage(folder).free:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            content.extractall(folder)
    except zipfile.BadZipFile as error:
        raise DataError(f"{archive.name} is not a sound zip file: {error}") from error


def _check(member: zipfile.ZipInfo, archive: Path) -> None:
    name = member.filename.replace("\\", "/")
    kind = stat.S_IFMT(member.external_attr >> 16)
    if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
        raise DataError(f"{archive.name} holds {member.filename!r}, which is a link or a special file: refused.")
    if name.startswith("/") or ".." in PurePosixPath(name).parts or ":" in name:
        raise DataError(f"{archive.name} holds {member.filename!r}, which would land outside its folder: refused.")
